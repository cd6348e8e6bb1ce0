package phone

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
)

//go:embed dist icon.svg page.html
var files embed.FS

// Account is one that a page may take at once, without being asked for a password.
type Account struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Config is what the page is told about this server.
type Config struct {
	Domain string // of its accounts; the realm too
	HTTPS  int    // port of the https listener; 0 is none
	TURN   bool   // credentials are to be had at /turn
	Echo   string // user that sends back what it hears; "" is none

	// Ready are accounts of a server that somebody tries out: they are told to pages that this machine itself shows, and to nobody else.
	Ready func() []Account
	// Pages tells whether a page of the request's origin may have the settings, as it may connect; it has answered if not. nil is only our own page.
	Pages func(http.ResponseWriter, *http.Request) bool
}

// told is the page's view of it.
type told struct {
	Domain string    `json:"domain"`
	HTTPS  int       `json:"https,omitempty"`
	TURN   bool      `json:"turn"`
	Echo   string    `json:"echo,omitempty"`
	Ready  []Account `json:"ready,omitempty"`
}

// asset is a file that is served as it is.
type asset struct {
	name        string
	kind        string // Content-Type
	plain, gzip []byte
	hash        string
}

// page is the handler.
type page struct {
	config Config
	html   []byte
	assets map[string]*asset // by path
}

// Handler serves /phone, /phone/... and /sip-phone.js.
func Handler(c Config) http.Handler {
	p := &page{config: c, assets: map[string]*asset{}}
	for at, name := range map[string]string{
		"/phone/phone.js": "dist/phone.js", "/phone/phone.css": "dist/phone.css", "/sip-phone.js": "dist/sip-phone.js",
		"/phone/licenses.txt": "dist/LICENSES.txt", "/phone/icon.svg": "icon.svg",
	} {
		p.assets[at] = load(name)
	}
	var b bytes.Buffer
	must(template.Must(template.ParseFS(files, "page.html")).Execute(&b, struct{ Script, Style, Icon string }{
		p.assets["/phone/phone.js"].hash, p.assets["/phone/phone.css"].hash, p.assets["/phone/icon.svg"].hash,
	}))
	p.html = b.Bytes()
	return p
}

// must is for what only a broken build makes fail: the files are in the program, and buffers take everything.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func load(name string) *asset {
	b, err := fs.ReadFile(files, name)
	must(err)
	sum := sha256.Sum256(b)
	a := &asset{name: name, kind: mime.TypeByExtension(path.Ext(name)), plain: b, hash: hex.EncodeToString(sum[:8])}
	switch path.Ext(name) { // not what this machine's tables say
	case ".js":
		a.kind = "text/javascript; charset=utf-8"
	case ".svg":
		a.kind = "image/svg+xml"
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err = w.Write(b)
	must(err)
	must(w.Close())
	a.gzip = z.Bytes()
	return a
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch a := p.assets[r.URL.Path]; {
	case a != nil:
		p.serveAsset(w, r, a)
	case r.URL.Path == "/phone":
		p.servePage(w, r)
	case r.URL.Path == "/phone/":
		http.Redirect(w, r, "/phone", http.StatusMovedPermanently)
	case r.URL.Path == "/phone/config.json":
		p.serveConfig(w, r)
	default:
		http.NotFound(w, r)
	}
}

// csp allows the page its own files, its own server, and sound; nothing is inline, and no text becomes code.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' %s; media-src 'self' blob:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"

func (p *page) servePage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// Not every browser counts its server's WebSocket as 'self'.
	socket := "wss://" + r.Host
	if r.TLS == nil {
		socket += " ws://" + r.Host
	}
	if !cleanHost(r.Host) {
		socket = ""
	}
	h.Set("Content-Security-Policy", fmt.Sprintf(csp, socket))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(p.html)
}

// cleanHost tells whether a Host can stand in a policy: it comes from the network.
func cleanHost(host string) bool {
	return host != "" && strings.IndexFunc(host, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_:[]", c))
	}) < 0
}

// serveAsset lets a file be kept for ever when it was asked for by its hash, and be asked for again otherwise.
func (p *page) serveAsset(w http.ResponseWriter, r *http.Request, a *asset) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", `"`+a.hash+`"`)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.URL.Path == "/sip-phone.js" { // other pages embed it
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Access-Control-Allow-Origin", "*")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), `"`+a.hash+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip
	}
	_, _ = w.Write(body)
}

func (p *page) serveConfig(w http.ResponseWriter, r *http.Request) {
	if p.config.Pages != nil && !p.config.Pages(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	t := told{Domain: p.config.Domain, HTTPS: p.config.HTTPS, TURN: p.config.TURN, Echo: p.config.Echo}
	if p.config.Ready != nil && r.Header.Get("Origin") == "" && atHome(r) {
		t.Ready = p.config.Ready()
	}
	_ = json.NewEncoder(w).Encode(t)
}

// atHome tells whether a request comes from this machine, by a name that is always this machine: a name of somebody else's may be made to lead here too.
func atHome(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); !strings.EqualFold(host, "localhost") && (err != nil || !a.IsLoopback()) {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}
