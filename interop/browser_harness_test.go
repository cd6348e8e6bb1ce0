package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdp "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/evanw/esbuild/pkg/api"
)

// The kinds of page there are: the SIP stack that a page has.
const (
	jssip = "JsSIP"
	sipjs = "SIP.js"
)

var kinds = []string{jssip, sipjs}

// patience is how long a browser may take for anything on a busy machine; no test waits for it in vain.
const patience = 60 * time.Second

// chromium is one headless browser for all tests: starting one takes longer than most of them.
var chromium = browserProcess{slots: make(chan struct{}, 3)}

type browserProcess struct {
	once   sync.Once
	ctx    context.Context
	cancel []context.CancelFunc
	pages  *httptest.Server // serves the pages, from another origin than the program's
	err    error

	slots   chan struct{} // how many tests use it at once: sound that comes late is lost
	holders sync.Map      // of a slot: *testing.T
}

// admit gives the test a slot until it ends.
func (b *browserProcess) admit(t *testing.T) {
	if _, holds := b.holders.LoadOrStore(t, true); holds {
		return
	}
	b.slots <- struct{}{}
	t.Cleanup(func() { <-b.slots })
}

// close ends the browser; TestMain calls it.
func (b *browserProcess) close() {
	for i := len(b.cancel) - 1; i >= 0; i-- {
		b.cancel[i]()
	}
	if b.pages != nil {
		b.pages.Close()
	}
}

func (b *browserProcess) start() {
	var bundles map[string]string
	if bundles, b.err = bundlePages(); b.err != nil {
		return
	}
	b.pages = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		script, ok := bundles[strings.Trim(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><meta charset=utf-8><title>phone</title><body><script>%s</script>", strings.ReplaceAll(script, "</script", `<\/script`))
	}))
	dir, err := os.MkdirTemp("", "signalbox-chromium")
	if err != nil {
		b.err = err
		return
	}
	b.cancel = append(b.cancel, func() { os.RemoveAll(dir) })
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir), chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("allow-loopback-in-peer-connection", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns,Translate,MediaRouter,OptimizationHints"),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("proxy-server", "direct://"), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true), chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.WSURLReadTimeout(patience),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	b.cancel = append(b.cancel, cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	b.cancel = append(b.cancel, cancel)
	b.err = chromedp.Do(b.ctx)
}

// bundlePages makes one script of each kind of page, with the stack that npm has fetched.
func bundlePages() (map[string]string, error) {
	dir, err := filepath.Abs("browser")
	if err != nil {
		return nil, err
	}
	bundles := map[string]string{}
	for _, kind := range kinds {
		entry := strings.ReplaceAll(strings.ToLower(kind), ".", "") + ".js"
		out := api.Build(api.BuildOptions{
			EntryPoints: []string{filepath.Join(dir, entry)}, AbsWorkingDir: dir, Bundle: true, Write: false, LogLevel: api.LogLevelSilent,
			Format: api.FormatIIFE, Target: api.ES2022, Define: map[string]string{"process.env.NODE_DEBUG": "false", "global": "globalThis"},
		})
		if len(out.Errors) > 0 {
			return nil, fmt.Errorf("%s: %s", entry, out.Errors[0].Text)
		}
		bundles[kind] = string(out.OutputFiles[0].Contents)
	}
	return bundles, nil
}

// startBrowser gives the browser, or skips the test where there is none.
func startBrowser(t *testing.T) *browserProcess {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("SKIPPED: chromium is not installed (interop/tools.sh installs it)")
	}
	if _, err := os.Stat(filepath.Join("browser", "node_modules", "jssip")); err != nil {
		t.Skip("SKIPPED: JsSIP and SIP.js are not installed (interop/tools.sh installs them)")
	}
	chromium.admit(t)
	chromium.once.Do(chromium.start)
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	return &chromium
}

// newWebServer is newServer, open to the pages of the tests.
func newWebServer(t *testing.T, extra string, users ...string) *server {
	t.Helper()
	b := startBrowser(t)
	return newServer(t, extra+fmt.Sprintf("\n[web]\norigins = [%q]\n", b.pages.URL), users...)
}

// url is where a page connects to: over is ws or wss.
func (s *server) url(over string) string {
	if over == "ws" {
		return "ws://" + s.http + "/sip"
	}
	return "wss://" + s.https + "/sip"
}

// page is a tab of the browser with one phone in it.
type page struct {
	t      *testing.T
	kind   string
	user   string
	ctx    context.Context
	config pageConfig
}

// pageConfig is what start in browser/*.js takes.
type pageConfig struct {
	URL      string         `json:"url"`
	User     string         `json:"user"`
	Domain   string         `json:"domain"`
	Password string         `json:"password"`
	Hz       int            `json:"hz"`              // of the tone the page speaks
	Register bool           `json:"register"`        // at once
	PC       map[string]any `json:"pc,omitempty"`    // more of RTCConfiguration: iceServers, iceTransportPolicy
	Extra    map[string]any `json:"extra,omitempty"` // more of the stack's own configuration
	Token    bool           `json:"token"`           // it asks for a session token
}

// openPage opens a page of that kind, signs user in over ws or wss, and returns when it is registered.
func openPage(t *testing.T, s *server, kind, user, over string, hz int, change ...func(*pageConfig)) *page {
	t.Helper()
	p := newPage(t, s, kind, user, over, hz, change...)
	p.start()
	if p.config.Register {
		p.wait("registered", nil)
	}
	return p
}

// newPage opens a page whose phone is not started yet.
func newPage(t *testing.T, s *server, kind, user, over string, hz int, change ...func(*pageConfig)) *page {
	t.Helper()
	b := startBrowser(t)
	p := &page{t: t, kind: kind, user: user, config: pageConfig{URL: s.url(over), User: user, Domain: domain, Password: password(user), Hz: hz, Register: true}}
	for _, fn := range change {
		fn(&p.config)
	}
	var console output
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *cdp.EventConsoleAPICalled:
			for _, arg := range e.Args {
				fmt.Fprintf(&console, "%s %s\n", arg.Value, arg.Description)
			}
		case *cdp.EventExceptionThrown:
			if e.ExceptionDetails.Exception != nil {
				fmt.Fprintf(&console, "%s: %s\n", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
			}
		}
	}))
	t.Cleanup(cancel)
	p.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s page of %s:\n%s", kind, user, tail(console.String(), 4000))
		}
	})
	// The first run of a context decides how long its page lives: it must not have a deadline.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	p.load()
	return p
}

// load opens the page, or opens it anew.
func (p *page) load() {
	p.t.Helper()
	run(p, "load", chromedp.Navigate(chromium.pages.URL+"/"+p.kind))
}

// start starts the phone.
func (p *page) start() {
	p.t.Helper()
	p.do(nil, "start", p.config)
}

func run[T any](p *page, what string, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("%s page of %s: %s: %v", p.kind, p.user, what, err)
	}
	return v
}

// do calls a method of the page's phone and waits for what it promises; result may be nil.
func (p *page) do(result any, method string, args ...any) {
	p.t.Helper()
	var list []string
	for _, arg := range args {
		b, err := json.Marshal(arg)
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, string(b))
	}
	p.eval(result, fmt.Sprintf("phone.%s(%s)", method, strings.Join(list, ",")))
}

// eval evaluates an expression, a promise being waited for.
func (p *page) eval(result any, expression string) {
	p.t.Helper()
	script := "(async () => JSON.stringify((await (%s)) ?? null))()"
	if result == nil {
		script = "(async () => { await (%s); return 'null'; })()" // what comes of it may be anything
	}
	text := run(p, expression, chromedp.Evaluate[string](fmt.Sprintf(script, expression), chromedp.EvalAwaitPromise))
	if result == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), result); err != nil {
		p.t.Fatalf("%s: %s: %v", expression, text, err)
	}
}

// wait takes the next event of that name, which may have happened already; value may be nil.
func (p *page) wait(event string, value any) {
	p.t.Helper()
	p.do(value, "next", event)
}

func (p *page) call(to string) { p.t.Helper(); p.do(nil, "call", "sip:"+to+"@"+domain) }
func (p *page) answer()        { p.t.Helper(); p.do(nil, "answer") }
func (p *page) hangup()        { p.t.Helper(); p.do(nil, "hangup") }
func (p *page) message(to, text string) (n int) {
	p.t.Helper()
	p.do(&n, "message", "sip:"+to+"@"+domain, text)
	return n
}

// incoming is a call that came to a page.
type incoming struct{ From, Contact string }

// text is a MESSAGE that came to a page.
type text struct{ From, Text, Type string }

// sound is what a page hears, and what its connection counts.
type sound struct {
	Hz, Level                    float64 // the loudest frequency, and its level in dB
	Received, Sent, Lost, Frames int     // packets of audio, decoded frames of video
	ICE, DTLS, Codec             string
	Local, Remote                string // candidates in use
}

func (p *page) audio() (s sound) {
	p.t.Helper()
	p.do(&s, "audio")
	return s
}

// hears waits until the page hears a tone of hz, within 1 %, and returns what its connection counts.
func (p *page) hears(hz int) sound {
	p.t.Helper()
	var s sound
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		s = p.audio()
		if within(s.Hz, float64(hz), 0.01) && s.Level > -50 {
			return s
		}
	}
	p.t.Fatalf("%s page of %s hears %.1f Hz at %.0f dB, not %d Hz: %+v", p.kind, p.user, s.Hz, s.Level, hz, s)
	return s
}

func within(got, want, part float64) bool { return got > want*(1-part) && got < want*(1+part) }
