package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const resolvConf = "/etc/resolv.conf"

// client asks name servers, one after the other, each with its own time limit.
type client struct {
	fixed    []string
	exchange func(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error)
	udp      dns.Client
	tcp      dns.Client

	mu      sync.Mutex
	servers []string
	read    time.Time // modification time of resolv.conf when it was read
}

func newClient(servers []string, exchange func(context.Context, *dns.Msg, string) (*dns.Msg, error)) *client {
	c := &client{
		fixed: servers, exchange: exchange,
		udp: dns.Client{Net: "udp", Timeout: serverTime, UDPSize: 1232},
		tcp: dns.Client{Net: "tcp", Timeout: serverTime},
	}
	if exchange == nil {
		c.exchange = c.overNetwork
	}
	return c
}

// list is the name servers. Search domains of resolv.conf are not used: a SIP domain is complete.
func (c *client) list() []string {
	if len(c.fixed) > 0 {
		return c.fixed
	}
	st, err := os.Stat(resolvConf)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || st.ModTime().Equal(c.read) {
		return c.servers
	}
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return c.servers
	}
	c.read, c.servers = st.ModTime(), nil
	for _, s := range conf.Servers {
		c.servers = append(c.servers, net.JoinHostPort(s, conf.Port))
	}
	return c.servers
}

var errNoServer = errors.New("no name server is configured")

// ask returns the answer section for name and type, and for how long it holds. A name that does not exist is an empty answer, not an error.
func (c *client) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, time.Duration, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	q.SetEdns0(1232, false)
	err := errNoServer
	for _, server := range c.list() {
		var in *dns.Msg
		if in, err = c.exchange(ctx, q, server); err != nil {
			continue
		}
		if len(in.Question) != 1 || !strings.EqualFold(in.Question[0].Name, q.Question[0].Name) || in.Question[0].Qtype != kind {
			err = fmt.Errorf("%s answered another question", server)
			continue
		}
		switch {
		case in.Rcode == dns.RcodeSuccess && len(in.Answer) > 0:
			return in.Answer, ttlOf(in.Answer), nil
		case in.Rcode == dns.RcodeSuccess || in.Rcode == dns.RcodeNameError:
			return nil, negative(in), nil
		}
		err = fmt.Errorf("%s answered %s for %s", server, dns.RcodeToString[in.Rcode], name)
	}
	return nil, 0, err
}

// overNetwork asks one server, over TCP when the answer was truncated.
func (c *client) overNetwork(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	in, _, err := c.udp.ExchangeContext(ctx, q, server)
	if err == nil && in.Truncated {
		in, _, err = c.tcp.ExchangeContext(ctx, q, server)
	}
	return in, err
}

func ttlOf(rrs []dns.RR) time.Duration {
	ttl := maxTTL
	for _, rr := range rrs {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
	}
	return ttl
}

// negative is RFC 2308, 5: the SOA's minimum, or its own TTL if that is less.
func negative(in *dns.Msg) time.Duration {
	for _, rr := range in.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(negativeTTL, time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second)
		}
	}
	return negativeTTL
}

type naptrRecord struct {
	order, preference    uint16
	service, replacement string
}

// naptr returns the records with flag "s": they lead to SRV (RFC 3263, 4.1). A record with a regexp is not for us.
func (c *client) naptr(ctx context.Context, name string) ([]naptrRecord, time.Duration, error) {
	rrs, ttl, err := c.ask(ctx, name, dns.TypeNAPTR)
	var out []naptrRecord
	for _, rr := range rrs {
		if n, ok := rr.(*dns.NAPTR); ok && strings.EqualFold(n.Flags, "s") && n.Regexp == "" {
			out = append(out, naptrRecord{n.Order, n.Preference, n.Service, n.Replacement})
		}
	}
	return out, ttl, err
}

type srvRecord struct {
	priority, weight, port uint16
	target                 string
}

func (c *client) srv(ctx context.Context, name string) ([]srvRecord, time.Duration, error) {
	rrs, ttl, err := c.ask(ctx, name, dns.TypeSRV)
	var out []srvRecord
	for _, rr := range rrs {
		if s, ok := rr.(*dns.SRV); ok {
			out = append(out, srvRecord{s.Priority, s.Weight, s.Port, s.Target})
		}
	}
	return out, ttl, err
}

// addrs follows CNAMEs as far as the server did.
func (c *client) addrs(ctx context.Context, name string, six bool) ([]netip.Addr, time.Duration, error) {
	kind := dns.TypeA
	if six {
		kind = dns.TypeAAAA
	}
	rrs, ttl, err := c.ask(ctx, name, kind)
	var out []netip.Addr
	for _, rr := range rrs {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok && len(out) < maxAddrs {
			out = append(out, a.Unmap())
		}
	}
	return out, ttl, err
}
