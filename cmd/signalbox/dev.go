package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	webphone "signalbox/internal/console/phone"
	"signalbox/internal/database"
	"signalbox/internal/wire"
)

// devData is where signalbox dev keeps its data.
const devData = "signalbox-dev"

// devDomain is the domain of signalbox dev; every address of the machine counts as it.
const devDomain = "localhost"

// devUsers are there from the first start.
var devUsers = [...]string{"alice", "bob"}

func (a *app) dev() *cobra.Command {
	var data string
	var trace bool
	var listen struct{ udp, tcp, tls, https []string }
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try it: a server with two users, without any configuration",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := devDefaults(data)
			if err == nil && a.configPath != "" {
				c, err = loadConfig(a.configPath, c)
			}
			if err != nil {
				return err
			}
			for _, l := range []struct {
				flag  string
				value []string
				to    *[]string
			}{{"udp", listen.udp, &c.udp}, {"tcp", listen.tcp, &c.tcp}, {"tls", listen.tls, &c.tls}, {"https", listen.https, &c.https}} {
				if !cmd.Flags().Changed(l.flag) {
					continue
				}
				c.httpsUnasked = c.httpsUnasked && l.flag != "https"
				for _, s := range l.value {
					if err := checkAddress(s); err != nil {
						return usagef("--%s: %w", l.flag, err)
					}
				}
				*l.to = l.value
			}
			if trace {
				c.level = levelTrace
			}
			err = a.runServer(cmd.Context(), c, a.welcome)
			var taken *listenError
			if errors.As(err, &taken) {
				return fmt.Errorf("%w; another address is chosen with --%s, for example --%s :5070 (\"\" turns it off)", err, taken.key, taken.key)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", devData, "`DIRECTORY` for the database and the local CA")
	cmd.Flags().StringSliceVar(&listen.udp, "udp", []string{":5060"}, "listen `ADDRESS` for UDP")
	cmd.Flags().StringSliceVar(&listen.tcp, "tcp", []string{":5060"}, "listen `ADDRESS` for TCP")
	cmd.Flags().StringSliceVar(&listen.tls, "tls", []string{":5061"}, "listen `ADDRESS` for TLS")
	cmd.Flags().StringSliceVar(&listen.https, "https", []string{":8443"}, "listen `ADDRESS` for web pages and SIP over WebSocket")
	cmd.Flags().BoolVar(&trace, "trace", false, "show whole messages")
	return cmd
}

// devDefaults is the configuration nobody has to write.
func devDefaults(data string) (*config, error) {
	c := serveDefaults()
	c.domains = []string{devDomain}
	c.origins = []string{"http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "https://127.0.0.1:*"} // pages under development
	aliases, err := machineNames()
	if err != nil {
		return nil, err
	}
	c.aliases = aliases
	c.database, err = filepath.Abs(filepath.Join(data, "signalbox.db"))
	return c, err
}

// machineNames are the addresses and names under which a phone may know this machine.
func machineNames() ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			names = append(names, p.Addr().WithZone("").String())
		}
	}
	if host, err := os.Hostname(); err == nil && host != "" && host != devDomain {
		names = append(names, strings.ToLower(host))
		if !strings.Contains(host, ".") {
			names = append(names, strings.ToLower(host)+".local")
		}
	}
	return names, nil
}

//go:embed words.txt
var wordList string

// devPassword is three words: the same on every start with the same secret, so that a phone that was set up stays so.
func devPassword(secret []byte, user string) string {
	words := strings.Fields(wordList)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(user))
	sum := mac.Sum(nil)
	var pick []string
	for i := range 3 {
		pick = append(pick, words[binary.BigEndian.Uint32(sum[4*i:])%uint32(len(words))])
	}
	return strings.Join(pick, "-")
}

// devSecret is made on the first start.
func devSecret(dir string) ([]byte, error) {
	path := filepath.Join(dir, "dev-secret")
	b, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(b)) >= 32 {
		return bytes.TrimSpace(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b = []byte(rand.Text() + rand.Text())
	return b, os.WriteFile(path, append(b, '\n'), 0o600)
}

// changedPassword is shown in place of one that is not known.
const changedPassword = "(changed)"

// readyUser is a user as the welcome shows it.
type readyUser struct{ name, password string }

// devAccounts makes the users that are missing. One whose password was changed keeps it, and is shown without.
func (s *server) devAccounts(ctx context.Context) ([]readyUser, error) {
	secret, err := devSecret(s.config.dataDir())
	if err != nil {
		return nil, err
	}
	var ready []readyUser
	domain := s.config.domains[0]
	for _, name := range devUsers {
		password := devPassword(secret, name)
		u, err := database.NewUser(name, domain, password)
		if err != nil {
			return nil, err
		}
		switch old, ok := s.users.Get(name, domain); {
		case !ok:
			if err := s.users.Add(ctx, u); err != nil {
				return nil, err
			}
		case old.MD5 != u.MD5 || old.SHA256 != u.SHA256:
			password = changedPassword
		}
		ready = append(ready, readyUser{name, password})
	}
	return ready, nil
}

// welcome makes the users and prints all one needs to set up two phones.
func (a *app) welcome(ctx context.Context, s *server) error {
	users, err := s.devAccounts(ctx)
	if err != nil {
		return err
	}
	bold, faint, reset := "", "", ""
	if wantsColor(a.stdout) {
		bold, faint, reset = "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s ", label)
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
	}
	title := fmt.Sprintf("%ssignalbox dev%s", bold, reset)
	fmt.Fprintf(&b, "%s%45s%sdata %s   stop Ctrl-C%s\n", title, "", faint, relative(s.config.dataDir()), reset)
	if port := s.webPort(); port != 0 {
		line("Web phone", "%shttps://localhost:%d/phone%s  two tabs: %s and %s are ready", bold, port, reset, users[0].name, users[1].name)
		line("Web", "https://localhost:%d/", port)
	}
	host := s.dialHost()
	line("SIP phone", "%s%s%s  %s", bold, host, reset, ports(s))
	for i, u := range users {
		label := ""
		if i == 0 {
			label = "Users"
		}
		line(label, "%-20s password %s%s%s", u.name+"@"+host, bold, u.password, reset)
	}
	for _, u := range users {
		if u.password != changedPassword {
			s.ready = append(s.ready, webphone.Account{User: u.name, Password: u.password})
		}
	}
	if s.turn != nil || s.media != nil {
		line("Media", "%s", strings.Join(slices.DeleteFunc([]string{s.mediaPorts(), s.turnPorts()}, func(p string) bool { return p == "" }), ", "))
	}
	line("Try", "call echo and hear yourself; register both, then call %s from %s or send a message", users[1].name, users[0].name)
	if s.localCA != nil {
		line("TLS", "phones that check certificates want %s", relative(filepath.Join(s.config.dataDir(), "tls", "ca.crt")))
	}
	line("Manage", "signalbox user add carol   signalbox reg list")
	b.WriteByte('\n')
	_, err = fmt.Fprint(a.stdout, b.String())
	return err
}

// dialHost is the address to type into a phone: one that other machines reach, if there is one.
func (s *server) dialHost() string {
	var best netip.Addr
	for _, l := range s.network.Addrs() {
		if a := l.Addr.Addr(); !a.IsUnspecified() {
			return a.String()
		}
	}
	for _, name := range s.config.aliases {
		a, err := netip.ParseAddr(name)
		if err != nil || a.IsLinkLocalUnicast() || a.IsLoopback() {
			continue
		}
		if !best.IsValid() || a.Is4() && !best.Is4() {
			best = a
		}
	}
	if !best.IsValid() {
		return "127.0.0.1"
	}
	return best.String()
}

// webPort is the port of the https listener, 0 if there is none.
func (s *server) webPort() uint16 {
	for _, l := range s.network.Addrs() {
		if l.Proto == wire.WSS {
			return l.Addr.Port()
		}
	}
	return 0
}

// ports lists the transports: "udp/tcp 5060, tls 5061".
func ports(s *server) string {
	type port struct {
		number uint16
		protos []string
	}
	var list []port
	for _, l := range s.network.Addrs() {
		if l.Proto == wire.WS || l.Proto == wire.WSS {
			continue
		}
		proto := strings.ToLower(l.Proto.String())
		i := slices.IndexFunc(list, func(p port) bool {
			return p.number == l.Addr.Port() && (l.Proto == wire.TLS) == slices.Contains(p.protos, "tls")
		})
		switch {
		case i < 0:
			list = append(list, port{l.Addr.Port(), []string{proto}})
		case !slices.Contains(list[i].protos, proto):
			list[i].protos = append(list[i].protos, proto)
		}
	}
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s %d", strings.Join(p.protos, "/"), p.number))
	}
	return strings.Join(out, ", ")
}

// relative shortens a path for reading.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return "./" + rel
}
