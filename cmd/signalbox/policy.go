package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"signalbox/internal/policy"
	"signalbox/internal/wire"
)

// policyBox holds the policy that counts now. Its zero value holds none.
type policyBox struct{ now atomic.Pointer[policy.Policy] }

func (b *policyBox) get() *policy.Policy { return b.now.Load() }

// loadPolicy reads a policy file. An error is one or several configErrors.
func loadPolicy(path string, domains *wire.Domains) (*policy.Policy, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(doc) > policy.MaxFile {
		return nil, &configError{file: path, message: fmt.Sprintf("the file has more than %d bytes", policy.MaxFile)}
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	p := newPlaces(path, doc)
	var f policy.File
	if err := toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, p.decodeErrors(err, reflect.TypeFor[policy.File]())
	}
	fresh, found := policy.New(&f, domains)
	var all []*configError
	for _, one := range found {
		all = append(all, p.errorf(one.Key, "%s", one.Message))
	}
	slices.SortStableFunc(all, func(a, b *configError) int { return cmp.Or(a.line-b.line, a.col-b.col) })
	var joined []error
	for _, one := range all {
		joined = append(joined, one)
	}
	return fresh, errors.Join(joined...)
}

// readPolicy reads the policy that the configuration names. Only who acts by it does so: with a broken one users can still be added.
func (c *config) readPolicy() (err error) {
	if c.policyFile == "" {
		return nil
	}
	c.policy, err = loadPolicy(c.policyFile, wire.NewDomains(c.domains, c.aliases))
	var finding *configError
	if err != nil && !errors.As(err, &finding) && c.places != nil {
		return c.places.errorf("policy.file", "%v", err)
	}
	return err
}

// policyOrNone is for commands without a server: a broken policy allows nothing, and gets in nobody's way otherwise.
func (c *config) policyOrNone() *policy.Policy {
	if c.readPolicy() == nil {
		return c.policy
	}
	nothing, _ := policy.New(&policy.File{Rules: []policy.Rule{{Name: "broken policy", Deny: new(policy.Deny)}}}, wire.NewDomains(c.domains, c.aliases))
	return nothing
}

// reloadPolicy reads the policy again and holds what is registered against it. While the new one is broken the old one stays.
func (s *server) reloadPolicy(ctx context.Context) error {
	if s.config.policyFile == "" {
		return nil
	}
	fresh, err := loadPolicy(s.config.policyFile, s.domains)
	if err != nil {
		return fmt.Errorf("the policy stays as it was:\n%w", err)
	}
	old := s.policy.now.Swap(fresh)
	n, err := s.core.logins.Apply(ctx, old, fresh)
	s.log.Info("policy read again", "rules", fresh.Len(), "shortened", n.Shortened, "deactivated", n.Deactivated, "probation", n.Probation, "rejected", n.Rejected)
	return err
}

// policyCommands is the group "policy".
func (a *app) policyCommands() *cobra.Command {
	return a.group("policy", "Check and try the policy file", a.policyCheck(), a.policyTry(), a.policySchema())
}

// policyOf reads the policy file of the arguments, else that of the configuration.
func (a *app) policyOf(args []string) (*policy.Policy, string, *config, error) {
	c, err := a.deskConfig()
	if err != nil {
		return nil, "", nil, err
	}
	path := c.policyFile
	if len(args) > 0 {
		path = args[0]
	}
	if path == "" {
		return nil, "", nil, errors.New(`there is no policy: name a file, or give one in the configuration ([policy] file = "policy.toml")`)
	}
	p, err := loadPolicy(path, wire.NewDomains(c.domains, c.aliases))
	return p, path, c, err
}

// atMost checks that there are no more arguments than that.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("unexpected %q", args[n])
		}
		return nil
	}
}

func (a *app) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read the policy and print every error in it",
		Args:  atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, path, _, err := a.policyOf(args)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s is fine: %s\n", path, plural(p.Len(), "rule"))
			return nil
		},
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (a *app) policySchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the policy file, for editors",
		Args:  takes(),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(policy.Schema())
			return err
		},
	}
}

// tried is a request to try the policy with.
type tried struct {
	user, target, device, kind, door, transport, source, trust, action, at string
	nat                                                                    bool
}

func (a *app) policyTry() *cobra.Command {
	var t tried
	var output string
	cmd := &cobra.Command{
		Use:   "try [FILE]",
		Short: "Print what the policy decides about a request, and which rule says so",
		Example: "  signalbox policy try --user alice --transport udp --nat --source 198.51.100.7\n" +
			"  signalbox policy try --user bob --device tv --kind tv --door admin --at 2026-01-31T23:00:00",
		Args: atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, _, c, err := a.policyOf(args)
			if err != nil {
				return err
			}
			f, err := t.facts(desk{domains: wire.NewDomains(c.domains, c.aliases)})
			if err != nil {
				return err
			}
			_, lines := p.Explain(f)
			if output == "json" {
				return a.json(lines)
			}
			var rows [][]string
			for _, l := range lines {
				rule := l.Rule
				if rule == "" {
					rule = "-"
				}
				rows = append(rows, []string{l.Setting, l.Value, rule})
			}
			return a.table([]string{"SETTING", "VALUE", "RULE"}, rows)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.user, "user", "", "who asks: `NAME` (needed)")
	flags.StringVar(&t.action, "action", "register", "`ACTION`: register, call or watch")
	flags.StringVar(&t.target, "target", "", "who is called or watched: `NAME`")
	flags.StringVar(&t.transport, "transport", "udp", "`NAME`: udp, tcp, tls, ws or wss")
	flags.StringVar(&t.source, "source", "192.0.2.1", "`ADDRESS` the request comes from")
	flags.BoolVar(&t.nat, "nat", false, "the phone is behind NAT")
	flags.StringVar(&t.device, "device", "", "`NAME` of the device")
	flags.StringVar(&t.kind, "kind", policy.PhoneKind, "`KIND` of the device")
	flags.StringVar(&t.door, "door", "own", "`DOOR`: own, device or admin")
	flags.StringVar(&t.trust, "trust", "", "`LEVEL`: password, tls or certificate (default: what the transport gives)")
	flags.StringVar(&t.at, "at", "", "`TIME` such as 2026-01-31T23:00:00 (default: now)")
	outputFlag(cmd, &output)
	return cmd
}

func (t *tried) facts(d desk) (*policy.Facts, error) {
	f := &policy.Facts{Kind: t.kind, NAT: t.nat, Now: time.Now()}
	if t.user == "" {
		return nil, usagef("--user is missing")
	}
	for _, one := range []struct {
		flag, name string
		to         *wire.AOR
	}{{"user", t.user, &f.User}, {"target", t.target, &f.Target}, {"device", t.device, &f.Device}} {
		if one.name == "" {
			continue
		}
		one.to.User, one.to.Host = d.account(one.name)
		if _, ours := d.domains.Domain(one.to.Host); !ours {
			return nil, usagef("--%s %s: %s is not a domain of this server", one.flag, one.name, one.to.Host)
		}
	}
	var ok bool
	if f.Proto, ok = wire.ParseProto(t.transport); !ok {
		return nil, usagef("--transport %s: want udp, tcp, tls, ws or wss", t.transport)
	}
	var err error
	if f.Source, err = netip.ParseAddr(t.source); err != nil {
		return nil, usagef("--source %s: want an IP address", t.source)
	}
	if t.trust == "" {
		t.trust = policy.Password.String()
		if f.Proto.Secure() {
			t.trust = policy.TLS.String()
		}
	}
	for _, one := range []struct {
		flag, value string
		allowed     []string
		set         func(int)
	}{
		{"action", t.action, []string{"register", "call", "watch"}, func(i int) { f.Action = policy.Action(i) }},
		{"door", t.door, []string{"own", "device", "admin"}, func(i int) { f.Door = policy.Door(i) }},
		{"trust", t.trust, []string{"password", "tls", "certificate"}, func(i int) { f.Trust = policy.Trust(i) }},
	} {
		i := slices.Index(one.allowed, one.value)
		if i < 0 {
			return nil, usagef("--%s %s: want one of %s", one.flag, one.value, strings.Join(one.allowed, ", "))
		}
		one.set(i)
	}
	if t.at != "" {
		if f.Now, err = parseTime(t.at); err != nil {
			return nil, usagef("--at %s: %v", t.at, err)
		}
	}
	return f, nil
}

// parseTime reads a time as people write it, in the machine's zone unless it names one.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errors.New("want a time such as 2026-01-31T23:00:00")
	}
	return t, nil
}
