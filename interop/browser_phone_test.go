package interop

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpcall "github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdp "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// shots is where the pictures of the phone page go, for somebody to look at: SIGNALBOX_SHOTS=DIR. Without it none are taken.
var shots = os.Getenv("SIGNALBOX_SHOTS")

// newDev starts `signalbox dev` on free ports and returns when it is ready.
func newDev(t *testing.T) *server {
	t.Helper()
	startBrowser(t)
	s := &server{t: t, dir: t.TempDir(), out: &output{}}
	s.udp, s.tcp, s.tls, s.https = freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	turn := freeAddr(t)
	s.conf = s.file("dev.toml", fmt.Sprintf("[media]\nwebrtc_udp = %s\n[turn]\nudp = %q\ntcp = %q\ntls = \"\"\n", portOf(freeAddr(t)), turn, turn))
	s.cmd = exec.Command(program, "dev", "--data", filepath.Join(s.dir, "signalbox-dev"), "--config", s.conf, "--udp", s.udp, "--tcp", s.tcp, "--tls", s.tls, "--https", s.https)
	s.cmd.Stdout, s.cmd.Stderr, s.dev = s.out, s.out, true
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for range 1200 {
		if strings.Contains(s.out.String(), "msg=ready") { // it speaks of users that are ready before it serves
			return s
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the server does not start:\n%s", s.out)
	return nil
}

// webPhone is a tab with the phone page.
type webPhone struct {
	t    *testing.T
	name string
	ctx  context.Context
}

// openPhone opens the page at path in a tab.
func openPhone(t *testing.T, s *server, name, path string) *webPhone {
	t.Helper()
	var console output
	ctx, cancel := chromedp.NewContext(startBrowser(t).ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *cdp.EventConsoleAPICalled:
			for _, arg := range e.Args {
				fmt.Fprintf(&console, "%s %s\n", arg.Value, arg.Description)
			}
		case *cdp.EventExceptionThrown:
			if e.ExceptionDetails.Exception != nil {
				fmt.Fprintf(&console, "exception: %s: %s\n", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
			}
		}
	}))
	t.Cleanup(cancel)
	p := &webPhone{t, name, ctx}
	t.Cleanup(func() {
		if text := console.String(); t.Failed() || strings.Contains(text, "exception") || strings.Contains(text, "Content Security Policy") {
			t.Errorf("console of %s:\n%s", name, tail(text, 4000))
		}
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("https://localhost:"+portOf(s.https)+path)); err != nil {
		t.Fatal(err)
	}
	return p
}

// js evaluates an expression; a promise is waited for.
func (p *webPhone) js(expression string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => String((await ("+expression+")) ?? ''))()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (p *webPhone) until(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if p.js(expression) == "true" {
			return
		}
	}
	p.looks("failed")
	p.t.Fatalf("%s: never true: %s\nthe page says: %s", p.name, expression, p.js("document.body.innerText"))
}

// sees waits for a text on the page.
func (p *webPhone) sees(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("document.body.innerText.replace(/\\s+/g, ' ').includes(%q)", text))
}

// press clicks the button that has this name, as a screen reader reads it.
func (p *webPhone) press(name string) {
	p.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('button, summary')].find(b => {
		const text = b.cloneNode(true);
		text.querySelectorAll('[aria-hidden=true]').forEach(e => e.remove());
		return !b.disabled && b.checkVisibility() && (b.ariaLabel ?? text.textContent).replace(/\s+/g, ' ').trim().startsWith(%q);
	})`, name)
	p.until(find + " !== undefined")
	p.js(find + ".click()")
}

// types fills a field.
func (p *webPhone) types(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("document.querySelector(%q) !== null", selector))
	p.js(fmt.Sprintf("document.querySelector(%q).value = %q", selector, text))
}

// cut names what of the page is out of sight: to the side of it, or, scrolled to its end, below the bar at its bottom.
const cut = `(() => {
	const shown = root => [...root.querySelectorAll('*')].flatMap(e => [e, ...(e.shadowRoot ? shown(e.shadowRoot) : [])])
		.filter(e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getBoundingClientRect().width > 1);
	scrollTo(0, document.body.scrollHeight);
	const floor = document.querySelector('nav.tabs')?.checkVisibility() && !document.querySelector('dialog[open]') ? document.querySelector('nav.tabs').getBoundingClientRect().top : Infinity;
	const out = shown(document.body).filter(e => {
		const r = e.getBoundingClientRect();
		return r.right > innerWidth + 1 || r.left < -1 || r.bottom > floor + 1 && e.closest('main') && !e.closest('.bubbles');
	}).map(e => e.localName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30));
	scrollTo(0, 0);
	return out.join('; ');
})()`

// looks sees to it that everything can be seen at a desk, in a hand and in a small hand, and takes pictures, light and dark.
func (p *webPhone) looks(name string) {
	p.t.Helper()
	do := func(what chromedp.Action[chromedp.Void]) {
		p.t.Helper()
		if err := chromedp.Do(p.ctx, what); err != nil {
			p.t.Fatal(err)
		}
	}
	for kind, size := range map[string][2]int64{"desk": {1180, 780}, "hand": {390, 844}, "small": {320, 568}} {
		do(chromedp.EmulateViewport(size[0], size[1]))
		p.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
		if bad := p.js(cut); bad != "" {
			p.t.Errorf("%s, %s, %s: cut off: %s", p.name, name, kind, bad)
		}
		for _, scheme := range []string{"light", "dark"} {
			if shots == "" {
				break
			}
			do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
				_, err := cdpcall.Call(ctx, t, emulation.SetEmulatedMedia,
					emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				return chromedp.Void{}, err
			})
			p.js("new Promise(r => setTimeout(r, 250))")
			png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				p.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(shots, name+"-"+kind+"-"+scheme+".png"), png, 0o644); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	do(chromedp.EmulateViewport(1180, 780))
}

// The first five minutes of a newcomer: two tabs of the phone page, alice and bob ready, a call with sound both ways, held, muted, keys pressed; messages both
// ways; and what is said when something does not work. The page's policy allows no inline script or style: an attempt would fail the test.
func TestPhonePage(t *testing.T) {
	t.Parallel()
	s := newDev(t)
	alice := openPhone(t, s, "alice", "/phone")
	alice.sees("Continue as alice")
	alice.looks("signin")
	// A wrong password is told at once, in plain words.
	alice.types("input[name=name]", "alice")
	alice.types("input[name=password]", "wrong")
	alice.press("Sign in")
	alice.sees("That name and password do not go together.")
	alice.press("Continue as alice")
	alice.sees("Ready")
	alice.looks("dialer")

	bob := openPhone(t, s, "bob", "/phone")
	bob.press("Continue as bob")
	bob.sees("Ready")

	alice.types("#to", "bob")
	alice.press("Call")
	bob.sees("is calling")
	alice.sees("Ringing")
	bob.looks("incoming")
	bob.press("Answer")
	alice.sees("Connected")
	bob.sees("Connected")
	phone := "document.querySelector('signalbox-phone').line"
	for _, p := range []*webPhone{alice, bob} { // the browser's own microphone of tests beeps
		p.until(phone + ".call.quality?.received > 50 && " + phone + ".call.quality.lost === 0")
		p.sees("Good connection")
		p.press("Good connection")
		p.sees("Path direct")
	}
	alice.looks("call")

	alice.press("Keypad")
	alice.press("5")
	alice.until("document.querySelector('.digits').value === '5'") // it goes as RFC 4733, which a browser hears and does not tell
	alice.looks("keypad")
	alice.press("Keypad")
	alice.press("Mute")
	alice.sees("Unmute")
	bob.until(phone + ".call.quality.hear < 0.001")
	alice.press("Unmute")
	alice.press("Hold")
	bob.sees("alice has put you on hold")
	alice.sees("On hold")
	alice.press("Resume")
	bob.sees("Connected")
	alice.js("(() => { for (const on of [true, false, true]) " + phone + ".hold(on); })()") // pressed faster than it can be negotiated
	bob.sees("alice has put you on hold")
	alice.js("(() => { for (const on of [false, true, false]) " + phone + ".hold(on); })()")
	bob.sees("Connected")
	alice.until("!" + phone + ".call.held")
	bob.until(phone + ".call.grade === 'good'")

	alice.press("Message")
	alice.until(`(() => { // beside the call, and all of it
		const [call, chat] = ['.left', '.chat'].map(e => document.querySelector(e).getBoundingClientRect());
		return chat.left > call.right && chat.width > 300 && chat.bottom <= innerHeight;
	})()`)
	alice.types("#text", "Can you hear me?")
	alice.press("Send")
	bob.sees("Can you hear me?")
	bob.types("#text", "Yes, loud and clear 👍")
	bob.press("Send")
	alice.sees("Yes, loud and clear 👍")
	for _, text := range []string{"A word that breaks no page: " + strings.Repeat("Donaudampfschiff", 12), "<b>not bold</b>", "Number four", "Number five", "Number six", "Number seven"} {
		bob.types("#text", text)
		bob.press("Send")
		alice.sees(text)
	}
	bob.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth") // nothing sticks out
	bob.looks("chat")
	if err := chromedp.Do(bob.ctx, chromedp.EmulateViewport(390, 780)); err != nil {
		t.Fatal(err)
	}
	bob.press("Messages")
	newest := func(room int) {
		t.Helper()
		bob.until(fmt.Sprintf(`(() => { // is in sight
			const [list, last, form] = ['.bubbles', '.bubbles li:last-child', '.chat form'].map(e => document.querySelector(e).getBoundingClientRect());
			return list.height > %d && last.bottom <= list.bottom && form.bottom <= document.querySelector('.tabs').getBoundingClientRect().top;
		})()`, room))
	}
	newest(200)
	bob.looks("chat-alone")
	// A keyboard opens: the last message is still there. Who reads what was before is not taken away from it by a new message.
	for _, height := range []int64{780, 420} {
		if err := chromedp.Do(bob.ctx, chromedp.EmulateViewport(390, height)); err != nil {
			t.Fatal(err)
		}
		newest(80)
	}
	bob.js("document.querySelector('.bubbles').scrollTo({top: 0})")
	bob.until("!document.querySelector('signalbox-phone').atEnd")
	alice.types("#text", "Number eight")
	alice.press("Send")
	bob.sees("Number eight")
	if top := bob.js("new Promise(r => setTimeout(() => r(document.querySelector('.bubbles').scrollTop), 100))"); top != "0" {
		t.Errorf("bob reads, and is taken to %s", top)
	}
	if err := chromedp.Do(bob.ctx, chromedp.EmulateViewport(1180, 780)); err != nil {
		t.Fatal(err)
	}

	bob.press("Hang up")
	bob.sees("Call ended.")
	alice.until(phone + ".call.trouble === 'bob hung up.'")
	bob.press("Close")
	alice.js(phone + ".dismiss()")

	alice.js(phone + ".dial('nobody')")
	alice.until(phone + ".call?.trouble === 'There is nobody called nobody here. Check the spelling.'")
	alice.js("document.querySelector('signalbox-phone').view = 'phone'")
	alice.js("document.querySelector('signalbox-phone').requestUpdate()")
	alice.sees("There is nobody called nobody here.")
	alice.looks("notfound")
	alice.press("Close")

	// A reload is no new sign-in, and leaves no ghost: bob's call reaches the one page there is.
	alice.js("window.old = true")
	if err := chromedp.Do(alice.ctx, chromedp.Reload()); err != nil {
		t.Fatal(err)
	}
	alice.until("!window.old")
	alice.sees("Ready")
	online := func() (n, all int) {
		for _, d := range s.devices("--user", "alice") {
			if all++; d.Online {
				n++
			}
		}
		return n, all
	}
	if n, all := online(); n != 1 || all != 1 {
		t.Errorf("a page that was loaded anew is %d devices, %d of them online", all, n)
	}
	tab, closeTab := chromedp.NewContext(alice.ctx)
	t.Cleanup(closeTab)
	second := &webPhone{t, "alice's second tab", tab}
	if err := chromedp.Do(tab, chromedp.Navigate("https://localhost:"+portOf(s.https)+"/phone")); err != nil {
		t.Fatal(err)
	}
	second.sees("in use in another tab")
	second.press("Continue as alice")
	second.sees("Ready")
	if n, all := online(); n != 2 || all != 2 {
		t.Errorf("two tabs are %d devices, %d of them online", all, n)
	}
	closeTab()
	s.until("the second tab is gone", func() bool { n, _ := online(); return n == 1 })
	bob.js(phone + ".dial('alice')")
	alice.press("Decline")
	bob.sees("alice declined the call.")
	bob.press("Close")
	alice.press("Close")
	alice.press("Sound settings")
	alice.until("document.querySelector('signalbox-phone').meter > 0.3") // the tests' microphone beeps
	alice.looks("sound")
	alice.js("document.querySelector('#sound').close()")
	results.passed(t, "Phone page in Chromium", "two tabs in `signalbox dev`: call, hold, mute, keypad, messages, reload", "TestPhonePage", "wss")
}

// The echo sends back what it hears.
func TestPhonePageEcho(t *testing.T) {
	t.Parallel()
	s := newDev(t)
	alice := openPhone(t, s, "alice", "/phone")
	alice.press("Continue as alice")
	alice.press("Echo test")
	alice.sees("Connected")
	phone := "document.querySelector('signalbox-phone').line"
	alice.until(phone + ".call.quality?.received > 50 && " + phone + ".call.quality.hear > 0.01")
	alice.press("Good connection")
	alice.looks("echo")
	alice.press("Hang up")
	alice.sees("Call ended.")
	results.passed(t, "Phone page in Chromium", "the echo is heard", "TestPhonePageEcho", "wss")
}

// With "always by the relay" a call goes by TURN on both sides, over UDP; and where UDP is shut, over TCP.
func TestPhonePageRelay(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newDev(t)
			phone := "document.querySelector('signalbox-phone').line"
			var phones []*webPhone
			for _, name := range []string{"alice", "bob"} {
				p := openPhone(t, s, name, "/phone")
				// The browser is told of one way only, as it would find behind a firewall.
				p.js(`(() => { const ask = window.fetch; window.fetch = async (...args) => { const r = await ask(...args); if (!String(args[0]).includes('/turn') || !r.ok) return r;
					const answer = await r.json(); answer.iceServers[0].urls = answer.uris.filter(u => u.endsWith('transport=` + transport + `'));
					return new Response(JSON.stringify(answer)); } })()`)
				p.press("Continue as " + name)
				p.sees("Ready")
				p.press("Sound settings")
				p.js("document.querySelector('#sound input[type=checkbox]').click()")
				p.js("document.querySelector('#sound').close()")
				phones = append(phones, p)
			}
			alice, bob := phones[0], phones[1]
			alice.types("#to", "bob")
			alice.press("Call")
			bob.press("Answer")
			for _, p := range phones {
				p.sees("Connected")
				p.until(phone + ".call.quality?.received > 50")
				if got := p.js(phone + ".call.quality.local.type + ' ' + " + phone + ".call.quality.local.relay + ' ' + " + phone + ".call.quality.remote.type"); got != "relay "+transport+" relay" {
					t.Errorf("%s: the sound goes by %s", p.name, got)
				}
			}
			if lost := alice.js(phone + ".call.quality.lost"); lost != "0" {
				t.Errorf("%s packets were lost", lost)
			}
			alice.press("Hang up")
			results.passed(t, "Phone page in Chromium", "RFC 8656: relay-only on both sides", "TestPhonePageRelay", transport)
		})
	}
}

// Another page embeds <sip-phone>: the element comes from us, calls, and tells how it goes.
func TestSipPhoneElement(t *testing.T) {
	t.Parallel()
	s := newDev(t)
	web := "https://localhost:" + portOf(s.https)
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><meta name="color-scheme" content="light dark"><title>A shop</title><style>body { font: 17px system-ui; margin: 3rem }</style>
<h1>A shop</h1><p>Questions?</p><sip-phone to="bob" label="Call us" user="alice" password=%q></sip-phone><script type="module" src="%s/sip-phone.js"></script>`, devPassword(t, s, "alice"), web)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go other.Serve(l)
	t.Cleanup(func() { other.Close() })

	bob := openPhone(t, s, "bob", "/phone")
	bob.press("Continue as bob")
	bob.sees("Ready")
	shop := openPhone(t, s, "shop", "/phone")
	if err := chromedp.Do(shop.ctx, chromedp.Navigate("http://"+l.Addr().String())); err != nil {
		t.Fatal(err)
	}
	inside := "document.querySelector('sip-phone').shadowRoot"
	shop.until(inside + "?.querySelector('button') != null")
	shop.looks("element")
	shop.js(inside + ".querySelector('button').click()")
	bob.press("Answer")
	shop.until(inside + ".textContent.includes('Connected')")
	shop.until("document.querySelector('sip-phone').line.call.quality?.received > 50")
	shop.until(inside + ".textContent.includes('Good connection')")
	shop.js(inside + ".querySelector('summary').click()")
	for _, text := range []string{"Path", "direct", "Lost", "0 %", "Jitter"} {
		shop.until(fmt.Sprintf("%s.querySelector('details').innerText.includes(%q)", inside, text))
	}
	if err := chromedp.Do(shop.ctx, chromedp.EmulateViewport(390, 844)); err != nil {
		t.Fatal(err)
	}
	shop.until(`(() => { // the buttons stay together
		const [mute, stop] = [...` + inside + `.querySelectorAll('.buttons button')].map(b => b.getBoundingClientRect());
		return mute.top === stop.top && mute.height === stop.height;
	})()`)
	shop.looks("element-call")
	shop.js(inside + ".querySelector('.stop').click()")
	bob.until("document.querySelector('signalbox-phone').line.call.trouble === 'alice hung up.'")
	results.passed(t, "<sip-phone> in Chromium", "a page of another origin embeds the element and calls", "TestSipPhoneElement", "wss")
}

// devPassword reads a password off the screen, as a person does.
func devPassword(t *testing.T, s *server, user string) string {
	t.Helper()
	for line := range strings.Lines(s.out.String()) {
		if _, rest, ok := strings.Cut(line, user+"@"); ok {
			if _, password, ok := strings.Cut(rest, "password "); ok {
				return strings.TrimSpace(password)
			}
		}
	}
	t.Fatalf("no password of %s in\n%s", user, s.out)
	return ""
}
