package main

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/pelletier/go-toml/v2"

	"signalbox/internal/policy"
	"signalbox/registrar"
)

// configFile is the TOML file, key by key. README.md, "Configuration", is its reference.
type configFile struct {
	Domain  string   `toml:"domain"`
	Domains []string `toml:"domains"`
	Listen  struct {
		UDP       any `toml:"udp"` // a string or a list of strings, "" is off
		TCP       any `toml:"tcp"`
		TLS       any `toml:"tls"`
		HTTPS     any `toml:"https"`
		HTTP      any `toml:"http"`
		Advertise any `toml:"advertise"` // as the listeners, but IP addresses
	} `toml:"listen"`
	Web struct {
		Origins any `toml:"origins"` // as the listeners, but origins of web pages
		Proxies any `toml:"proxies"` // the same, but addresses or networks
	} `toml:"web"`
	TLS struct {
		Cert       any    `toml:"cert"` // as the listeners, but files
		Key        any    `toml:"key"`
		CA         string `toml:"ca"`
		Local      bool   `toml:"local"`
		ClientCA   string `toml:"client_ca"`
		ClientAuth string `toml:"client_auth"`
	} `toml:"tls"`
	Store struct {
		Database string `toml:"database"`
		Location string `toml:"location"`
	} `toml:"store"`
	Auth struct {
		Inbound     string `toml:"inbound"`
		SHA256First bool   `toml:"sha256_first"`
	} `toml:"auth"`
	Proxy struct {
		AllowPrivate bool `toml:"allow_private"`
		Edge         any  `toml:"edge"` // as the listeners, but domains
	} `toml:"proxy"`
	Media  mediaFile `toml:"media"`
	TURN   turnFile  `toml:"turn"`
	Policy struct {
		File string `toml:"file"`
	} `toml:"policy"`
	Observe struct {
		Metrics string `toml:"metrics"`
	} `toml:"observe"`
	Limits limits `toml:"limits"`
	Log    struct {
		Level  string `toml:"level"`
		Format string `toml:"format"`
	} `toml:"log"`
}

// limits are the bounds an operator of a large site sets; 0 leaves the default of the room that keeps the bound.
type limits struct {
	Transactions          int `toml:"transactions"`
	Connections           int `toml:"connections"`
	ConnectionsPerAddress int `toml:"connections_per_address"`
	ContactsPerAOR        int `toml:"contacts_per_aor"`
	RegistrationMin       int `toml:"registration_min"` // seconds, as the next two
	RegistrationDefault   int `toml:"registration_default"`
	RegistrationMax       int `toml:"registration_max"`
}

func (l *limits) minExpires() time.Duration {
	return cmp.Or(time.Duration(l.RegistrationMin)*time.Second, registrar.MinExpires)
}

func (l *limits) defaultExpires() time.Duration {
	return cmp.Or(time.Duration(l.RegistrationDefault)*time.Second, registrar.DefaultExpires)
}

func (l *limits) maxExpires() time.Duration {
	return cmp.Or(time.Duration(l.RegistrationMax)*time.Second, registrar.MaxExpires)
}

// levelTrace shows whole messages.
const levelTrace = slog.LevelDebug - 4

// config is a checked configuration with all defaults filled in.
type config struct {
	domains        []string
	aliases        []string       // addresses that count as the first domain (dev)
	udp, tcp, tls  []string       // listen addresses, "IP:PORT" or ":PORT"
	https, http    []string       // the same, for web pages and SIP over WebSocket
	httpsUnasked   bool           // https is our default: nobody asked for it, so where the port is taken we do without
	origins        []string       // whose web pages may connect, besides our own
	proxies        []netip.Prefix // of web servers in front of ours
	advertise      []netip.Addr   // at most one of each family
	certs          []pair         // none: a local CA in the data directory
	ca             string         // file: who signs other servers' certificates
	clientCA       string         // file: who signs clients' certificates; "": they are not asked for one
	clientRequired bool           // no connection without one
	database       string         // path of the SQLite file
	volatile       bool           // bindings are not stored
	inbound        string
	sha256First    bool
	allowPrivate   bool
	edge           []string // domains of other servers whose phones are in front of us
	media          mediaConfig
	turn           turnConfig
	policyFile     string         // "" for none
	policy         *policy.Policy // nil for none
	metrics        string         // where Prometheus reads, "" is off
	limits         limits
	level          slog.Level
	format         string // auto, text, json

	places *places // nil without a file
}

// dataDir is where the database, the control socket, the lock and the local CA live.
func (c *config) dataDir() string { return filepath.Dir(c.database) }

// serveDefaults is production: everything but the domain has a default.
func serveDefaults() *config {
	return &config{
		udp: []string{":5060"}, tcp: []string{":5060"}, tls: []string{":5061"},
		https: []string{":8443"}, httpsUnasked: true,
		database: "signalbox.db",
		inbound:  "authenticated",
		media:    mediaDefaults(),
		turn:     turnDefaults(),
		level:    slog.LevelInfo,
		format:   "auto",
	}
}

// loadConfig reads a file over defaults. An error is one or several configErrors.
func loadConfig(path string, c *config) (*config, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// An editor's byte order mark is no key.
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	p := newPlaces(path, doc)
	c.places = p
	check := checker{places: p}
	var f configFile
	err = toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(&f)
	if err == nil {
		check.file(c, &f)
		err = errors.Join(check.found...)
	} else {
		err = p.decodeErrors(err, reflect.TypeFor[configFile]())
		// Unknown keys are no reason to be silent about the known ones.
		if f = (configFile{}); toml.Unmarshal(doc, &f) == nil {
			check.file(c, &f)
			err = errors.Join(err, errors.Join(check.written()...))
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
