package laddertest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"signalbox/internal/ladder"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// Env is the world that a ladder's server is built in.
type Env struct {
	Network *Network
	Name    string // of the server in the ladder
	Domain  string
	Users   []User
	Records []string // directive dns, as lines of a zone file
	Options map[string]string
}

// User is an account of Domain.
type User struct{ Name, Password string }

// Server is what the caller built.
type Server struct {
	Receiver     transport.Receiver
	Transactions func() int // alive, of any kind; nil is not checked
	Close        func()     // must end all goroutines; nil does nothing
}

// known phones need no directive.
var known = []string{"alice", "bob", "carol", "dave", "erin"}

// stage is a script's cast.
type stage struct {
	env      *Env
	phones   map[string]*phone
	byHop    map[wire.Hop]*phone
	register []ladder.Directive
}

func newStage(s *ladder.Script) (*stage, error) {
	st := &stage{
		env: &Env{
			Name: "proxy", Domain: "example.org",
			Options: make(map[string]string),
		},
		phones: make(map[string]*phone),
		byHop:  make(map[wire.Hop]*phone),
	}
	local := []netip.Addr{netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8::100")}
	for _, d := range s.Directives {
		var err error
		switch words := d.Words; words[0] {
		case "server":
			if len(words) > 1 {
				st.env.Name = words[1]
			}
			if len(words) > 2 {
				local, err = parseAddrs(words[2:])
			}
		case "domain":
			st.env.Domain = strings.Join(words[1:], "")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.Path, d.Line, err)
		}
	}
	st.env.Network = newNetwork(local)
	for _, d := range s.Directives {
		if err := st.direct(d); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.Path, d.Line, err)
		}
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		for _, name := range []string{e.From, e.To} {
			if slices.Contains(known, name) && st.phones[name] == nil {
				st.add(name)
			}
		}
		if e.Kind == ladder.Message && (e.From == st.env.Name) == (e.To == st.env.Name) {
			return nil, fmt.Errorf("%s:%d: either sender or receiver must be %s", s.Path, e.Line, st.env.Name)
		}
		if e.Kind != ladder.End && e.From != st.env.Name && st.phones[e.From] == nil {
			return nil, fmt.Errorf("%s:%d: who is %s?", s.Path, e.Line, e.From)
		}
	}
	return st, nil
}

// direct obeys one directive.
func (st *stage) direct(d ladder.Directive) error {
	words := d.Words
	if len(words) < 2 {
		return fmt.Errorf("%s what?", words[0])
	}
	switch words[0] {
	case "server", "domain":
		return nil
	case "phone":
		return st.phone(words[1:])
	case "user":
		st.env.Users = append(st.env.Users, User{words[1], password(words[1])})
		return nil
	case "registered":
		if st.phones[words[1]] == nil {
			if !slices.Contains(known, words[1]) {
				return fmt.Errorf("who is %s?", words[1])
			}
			st.add(words[1])
		}
		st.register = append(st.register, d)
		return nil
	case "dns":
		return st.dns(words[1], words[2:])
	case "option":
		st.env.Options[words[1]] = strings.Join(words[2:], " ")
		return nil
	}
	return fmt.Errorf("unknown directive %q", words[0])
}

// dns adds a name's addresses, or one record of another type.
func (st *stage) dns(name string, words []string) error {
	if len(words) > 0 && (words[0] == "SRV" || words[0] == "NAPTR" || words[0] == "CNAME") {
		st.env.Records = append(st.env.Records, name+". 300 IN "+strings.Join(words, " "))
		return nil
	}
	addrs, err := parseAddrs(words)
	for _, a := range addrs {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		st.env.Records = append(st.env.Records, fmt.Sprintf("%s. 300 IN %s %s", name, kind, a))
	}
	return err
}

// add makes a phone with nothing but a name.
func (st *stage) add(name string) { _ = st.phone([]string{name}) }

func (st *stage) phone(words []string) error {
	p := &phone{
		name: words[0], user: words[0], domain: st.env.Domain, account: true,
		proto: wire.UDP, network: st.env.Network, sent: make(map[string]packet),
	}
	var addr netip.Addr
	if i := slices.Index(known, p.name); i >= 0 {
		addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
	}
	port, listens, mtu, err := uint16(0), false, 0, error(nil)
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "udp":
		case "tcp":
			p.proto = wire.TCP
		case "tls":
			p.proto = wire.TLS
		case "user":
			p.user = value
		case "domain":
			p.domain, p.account = value, false
		case "host":
			p.host = value
		case "rport":
			p.rport = true
		case "listens":
			listens = true
		case "mtu":
			if mtu, err = strconv.Atoi(value); err != nil {
				return err
			}
		case "stranger":
			p.account = false
		default:
			if addr, port, err = parseAddr(w); err != nil {
				return err
			}
		}
	}
	if !addr.IsValid() {
		return errors.New("the phone needs an address")
	}
	st.place(p, addr, port, listens)
	if mtu != 0 {
		st.env.Network.mtus[addr] = mtu
	}
	return nil
}

// place gives the phone its addresses and, if need be, its account.
func (st *stage) place(p *phone, addr netip.Addr, port uint16, listens bool) {
	if p.host == "" {
		p.host = addr.String()
		if addr.Is6() {
			p.host = "[" + p.host + "]"
		}
		if port != 0 && port != 5060 {
			p.host += fmt.Sprintf(":%d", port)
		}
	}
	served := netip.AddrPortFrom(addr, cmp.Or(port, p.proto.Port()))
	if p.proto == wire.UDP {
		p.addr = served
	} else {
		// A connection comes from a port of its own.
		p.addr = netip.AddrPortFrom(addr, 49152+uint16(len(st.phones)))
		if listens {
			st.env.Network.listen(p.proto, served)
			st.byHop[wire.Hop{Proto: p.proto, Addr: served}] = p
		}
	}
	st.byHop[wire.Hop{Proto: p.proto, Addr: p.addr}] = p
	p.password = password(p.user)
	user := User{p.user, p.password}
	if p.account && !slices.Contains(st.env.Users, user) {
		st.env.Users = append(st.env.Users, user)
	}
	st.phones[p.name] = p
}

func password(user string) string { return user + "'s password" }

func parseAddr(s string) (netip.Addr, uint16, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), ap.Port(), nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a, 0, err
}

func parseAddrs(words []string) (addrs []netip.Addr, err error) {
	for _, w := range words {
		a, err := netip.ParseAddr(w)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
