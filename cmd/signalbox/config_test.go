package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every mistake is one clear finding with file, line, column, source line and caret.
func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
	}{
		{"empty", "", `sb.toml: domain: missing: which domain do the phones register with? domain = "example.org"`},
		{"syntax", "domain = \n", "sb.toml:1:10: unexpected character U+000A at start of value\n    domain = \n             ^"},
		{"unknown key", "domain = \"example.org\"\n[listen]\nupd = \":5060\"\n",
			"sb.toml:3:1: unknown key listen.upd; known here: udp, tcp, tls, https, http, advertise\n    upd = \":5060\"\n    ^"},
		{"unknown table", "domain = \"example.org\"\n[voicemail]\nsize = 1\n",
			"sb.toml:2:2: unknown key voicemail; known here: domain, domains, listen, web, tls, store, auth, proxy, media, turn, policy, observe, limits, log\n    [voicemail]\n     ^"},
		{"media range", "domain = \"example.org\"\n[media]\nrtp = \"20000\"\n",
			"sb.toml:3:7: media.rtp: \"20000\" is not a range of ports: want \"FIRST-LAST\", from 1024 to 65535\n    rtp = \"20000\"\n          ^"},
		{"media range without room", "domain = \"example.org\"\nmedia = { rtp = \"20001-20002\" }\n",
			"sb.toml:2:17: media.rtp: \"20001-20002\" has no room for one call: it takes an even port and the next one\n    media = { rtp = \"20001-20002\" }\n                    ^"},
		{"media address", "domain = \"example.org\"\n[media]\npublic_ip = \"automatic\"\n",
			"sb.toml:3:13: media.public_ip: \"automatic\": want \"auto\" or an IP address\n    public_ip = \"automatic\"\n                ^"},
		{"media port", "domain = \"example.org\"\n[media]\nwebrtc_udp = 0\n",
			"sb.toml:3:14: media.webrtc_udp: 0: want a port number from 1 to 65535\n    webrtc_udp = 0\n                 ^"},
		{"media timeout", "domain = \"example.org\"\n[media]\ntimeout = 1\n",
			"sb.toml:3:11: media.timeout: 1: want seconds, from 5 to 86400\n    timeout = 1\n              ^"},
		{"wrong type", "domain = 7\n", "sb.toml:1:10: domain: wrong type: want a string in quotes\n    domain = 7\n             ^"},
		{"wrong type of a listener", "domain = \"example.org\"\n[listen]\nudp = 5060\n",
			"sb.toml:3:7: listen.udp: wrong type: want a string in quotes or a list of strings\n    udp = 5060\n          ^"},
		{"wrong type of a limit", "domain = \"example.org\"\n[limits]\n\tconnections = \"many\"\n",
			"sb.toml:3:16: limits.connections: wrong type: want a whole number\n    \tconnections = \"many\"\n    \t              ^"},
		{"wrong type within a list", "domain = \"example.org\"\nlisten.udp = [\":5060\", 5062]\n",
			"sb.toml:2:24: listen.udp[1]: wrong type: want a string in quotes\n    listen.udp = [\":5060\", 5062]\n                           ^"},
		{"bad address", "domain = \"example.org\"\n[listen]\ntcp = \"example.org:5060\"\n",
			"sb.toml:3:7: listen.tcp: \"example.org:5060\" is not an address to listen on: want \"IP:PORT\" or \":PORT\"\n    tcp = \"example.org:5060\"\n          ^"},
		{"bad port", "domain = \"example.org\"\n[listen]\ntls = [\":5061\", \":99999\"]\n",
			"sb.toml:3:17: listen.tls[1]: \":99999\" is not an address to listen on: want \"IP:PORT\" or \":PORT\"\n    tls = [\":5061\", \":99999\"]\n                    ^"},
		{"twice", "domain = \"example.org\"\n[listen]\nudp = [\":5060\", \":5060\"]\n",
			"sb.toml:3:17: listen.udp[1]: :5060 is listed twice\n    udp = [\":5060\", \":5060\"]\n                    ^"},
		{"domain twice", "domains = [\"example.org\", \"Example.ORG.\"]\n",
			"sb.toml:1:27: domains[1]: example.org is listed twice\n    domains = [\"example.org\", \"Example.ORG.\"]\n                              ^"},
		{"one port for two", "domain = \"example.org\"\n[listen]\ntls = [\":5061\", \"192.0.2.1:5060\"]\n",
			"sb.toml:3:17: listen.tls[1]: 192.0.2.1:5060 is taken by listen.tcp\n    tls = [\":5061\", \"192.0.2.1:5060\"]\n                    ^"},
		{"the port of a default", "domain = \"example.org\"\n[listen]\ntcp = \":5061\"\n",
			"sb.toml:3:7: listen.tcp: :5061 is taken by listen.tls\n    tcp = \":5061\"\n          ^"},
		{"media on the port of SIP", "domain = \"example.org\"\n[media]\nwebrtc_udp = 5060\n",
			"sb.toml:3:14: media.webrtc_udp: :5060 is taken by listen.udp\n    webrtc_udp = 5060\n                 ^"},
		{"all off", "domain = \"example.org\"\n[listen]\nudp = \"\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\n",
			"sb.toml:2:2: listen: everything is turned off: give at least one of udp, tcp, tls, https, http\n    [listen]\n     ^"},
		{"web proxy", "domain = \"example.org\"\n[web]\nproxies = \"10.0.0.0/33\"\n",
			"sb.toml:3:11: web.proxies: \"10.0.0.0/33\" is not the address of a web server in front of this one: want \"IP\" or \"IP/BITS\"\n    proxies = \"10.0.0.0/33\"\n              ^"},
		{"metrics", "domain = \"example.org\"\n[observe]\nmetrics = \":9464\"\n",
			"sb.toml:3:11: observe.metrics: \":9464\": want \"IP:PORT\" of an address that only your Prometheus reaches, such as \"127.0.0.1:9464\"\n" +
				"    metrics = \":9464\"\n              ^"},
		{"origin", "domain = \"example.org\"\n[web]\norigins = [\"https://example.org\", \"example.org/phone\"]\n",
			"sb.toml:3:35: web.origins[1]: \"example.org/phone\" is not the origin of a web page: want \"https://HOST\", \"https://HOST:PORT\", \"https://HOST:*\", \"null\" (a page opened from a file) or \"*\"\n" +
				"    origins = [\"https://example.org\", \"example.org/phone\"]\n                                      ^"},
		{"bad domain", "domain = \"sip:example.org\"\n",
			"sb.toml:1:10: domain: \"sip:example.org\" is not a domain name: a host name such as example.org, without port or user\n    domain = \"sip:example.org\"\n             ^"},
		{"bad domain in a list", "domains = [\"example.org\", \"exa mple.net\"]\n",
			"sb.toml:1:27: domains[1]: \"exa mple.net\" is not a domain name: a host name such as example.org, without port or user\n" +
				"    domains = [\"example.org\", \"exa mple.net\"]\n                              ^"},
		{"domain and domains", "domain = \"example.org\"\ndomains = [\"example.net\"]\n",
			"sb.toml:2:11: domains: give domain or domains, not both\n    domains = [\"example.net\"]\n              ^"},
		{"key without certificate", "domain = \"example.org\"\ntls.key = \"main.go\"\n",
			"sb.toml:2:11: tls.key: cert and key go together: give both files, or neither for a local CA\n    tls.key = \"main.go\"\n              ^"},
		{"two certificates and one key", "domain = \"example.org\"\ntls.cert = [\"main.go\", \"cli.go\"]\ntls.key = \"main.go\"\n",
			"sb.toml:2:12: tls.cert: cert and key go together: give both files, or neither for a local CA\n    tls.cert = [\"main.go\", \"cli.go\"]\n               ^"},
		{"no such client CA", "domain = \"example.org\"\ntls.client_ca = \"/nowhere/ca.pem\"\n",
			"sb.toml:2:17: tls.client_ca: stat /nowhere/ca.pem: no such file or directory\n    tls.client_ca = \"/nowhere/ca.pem\"\n                    ^"},
		{"client_auth without a CA", "domain = \"example.org\"\n[tls]\nclient_auth = \"required\"\n",
			"sb.toml:3:15: tls.client_auth: needs client_ca: the file with the CA that has signed the clients' certificates\n    client_auth = \"required\"\n                  ^"},
		{"client_auth", "domain = \"example.org\"\n[tls]\nclient_ca = \"/dev/null\"\nclient_auth = \"maybe\"\n",
			"sb.toml:4:15: tls.client_auth: \"maybe\": want one of optional, required\n    client_auth = \"maybe\"\n                  ^"},
		{"edge of ourselves", "domain = \"example.org\"\nproxy = { edge = [\"example.net\", \"Example.org\"] }\n",
			"sb.toml:2:34: proxy.edge[1]: example.org is our own domain: edge names those of other servers\n    proxy = { edge = [\"example.net\", \"Example.org\"] }\n                                     ^"},
		{"choice", "domain = \"example.org\"\nauth = { inbound = \"all\" }\n",
			"sb.toml:2:20: auth.inbound: \"all\": want one of authenticated, any\n    auth = { inbound = \"all\" }\n                       ^"},
		{"database", "domain = \"example.org\"\n[store]\ndatabase = \"postgres://localhost/sip\"\n",
			"sb.toml:3:12: store.database: \"postgres://localhost/sip\": want \"sqlite:PATH\"\n    database = \"postgres://localhost/sip\"\n               ^"},
		{"limit", "domain = \"example.org\"\n[limits]\nregistration_min = 0\n",
			"sb.toml:3:20: limits.registration_min: 0: want a number from 1 to 3600\n    registration_min = 0\n                       ^"},
		{"limits against each other", "domain = \"example.org\"\n[limits]\nregistration_max = 600\n",
			"sb.toml:3:20: limits.registration_max: 10m0s is shorter than the default, 1h0m0s\n    registration_max = 600\n                       ^"},
		{"several at once", "domain = \"example.org\"\n[log]\nlevel = \"loud\"\nformat = \"xml\"\n",
			"sb.toml:4:10: log.format: \"xml\": want one of auto, text, json\n    format = \"xml\"\n             ^\n" +
				"sb.toml:3:9: log.level: \"loud\": want one of error, warn, info, debug, trace\n    level = \"loud\"\n            ^"},
		{"an unknown key and a bad value", "domian = \"example.org\"\n[auth]\ninbound = \"all\"\n",
			"sb.toml:1:1: unknown key domian; known here: domain, domains, listen, web, tls, store, auth, proxy, media, turn, policy, observe, limits, log\n    domian = \"example.org\"\n    ^\n" +
				"sb.toml:3:11: auth.inbound: \"all\": want one of authenticated, any\n    inbound = \"all\"\n              ^"},
		{"advertise", "domain = \"example.org\"\n[listen]\nadvertise = [\"203.0.113.5\", \"203.0.113.6\"]\n",
			"sb.toml:3:29: listen.advertise[1]: one address of each family at most\n    advertise = [\"203.0.113.5\", \"203.0.113.6\"]\n                                ^"},
		{"carriage returns", "domain = \"example.org\"\r\n[auth]\r\ninbound = \"all\"\r\n",
			"sb.toml:3:11: auth.inbound: \"all\": want one of authenticated, any\n    inbound = \"all\"\n              ^"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, "sb.toml", tt.file)
			_, err := loadConfig(path, serveDefaults())
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", "")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	path := writeFile(t, "sb.toml", "\xef\xbb\xbfdomain = \"Example.ORG.\"\n")
	c, err := loadConfig(path, serveDefaults())
	if err != nil {
		t.Fatal(err)
	}
	want := serveDefaults()
	want.domains = []string{"example.org"}
	want.database = filepath.Join(filepath.Dir(path), "signalbox.db")
	c.places = nil
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config{}, mediaConfig{}, turnConfig{}, limits{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// RFC 3261, 18.2.1: a server listens on TCP wherever it listens on UDP, since a request may be too large for UDP, and on the default ports.
func TestDefaultPorts(t *testing.T) {
	c := serveDefaults()
	if !slices.Contains(c.udp, ":5060") || !slices.Equal(c.udp, c.tcp) || !slices.Contains(c.tls, ":5061") {
		t.Errorf("udp %q, tcp %q, tls %q", c.udp, c.tcp, c.tls)
	}
}

func TestConfigValues(t *testing.T) {
	path := writeFile(t, "sb.toml", `
domains = ["example.org", "[2001:DB8::1]"]
[listen]
udp = ["192.0.2.1:5060", "[2001:db8::1]:5060"]
tcp = ""
tls = []
https = ""
http = "127.0.0.1:8080"
[web]
origins = "https://example.net:*"
[store]
database = "sqlite:data/sb.db"
location = "memory"
[auth]
inbound = "any"
[proxy]
edge = "example.net"
[limits]
transactions = 1000
[log]
level = "trace"
`)
	c, err := loadConfig(path, serveDefaults())
	if err != nil {
		t.Fatal(err)
	}
	c.places = nil
	want := &config{
		domains:  []string{"example.org", "2001:db8::1"},
		udp:      []string{"192.0.2.1:5060", "[2001:db8::1]:5060"},
		http:     []string{"127.0.0.1:8080"},
		origins:  []string{"https://example.net:*"},
		database: filepath.Join(filepath.Dir(path), "data/sb.db"),
		volatile: true,
		inbound:  "any",
		media:    mediaDefaults(),
		turn:     turnDefaults(),
		edge:     []string{"example.net"},
		limits:   limits{Transactions: 1000},
		level:    levelTrace,
		format:   "auto",
	}
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(config{}, mediaConfig{}, turnConfig{}, limits{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A configuration is written by a friend, but read from a disk: no content of it may end the program.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"domain = \"example.org\"\n", "[listen]\nudp = [\":5060\", {a = 1}]\n", "a = [[1], {b = [2]}]", "x.y.z = 1\n[[listen]]\n", "[listen]\n[listen]"} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "sb.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(path, serveDefaults()); err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
	})
}
