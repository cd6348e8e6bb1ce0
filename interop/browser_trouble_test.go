package interop

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// What the phone page says when something is in the way: a wrong password, no microphone, no https, a server that has gone; and what it looks like on hold. Each is
// said in plain words, and the page goes on afterwards.
func TestPhonePageTrouble(t *testing.T) {
	t.Parallel()
	s := newDev(t)
	phone := "document.querySelector('signalbox-phone').line"
	alice := openPhone(t, s, "alice", "/phone")
	alice.types("input[name=name]", "alice@example.net")
	alice.types("input[name=password]", "wrong")
	alice.press("Sign in")
	alice.sees("not of example.net")
	alice.until("document.querySelector('input[name=name]').getAttribute('aria-invalid') === 'true'")
	alice.types("input[name=name]", "alice")
	alice.press("Sign in")
	alice.sees("That name and password do not go together.")
	alice.looks("wrong-password")
	alice.press("Continue as alice")
	alice.sees("Ready")

	// The microphone is refused, missing, or in use: the call does not begin, and the reason is one that helps.
	for _, tt := range [][2]string{ // the last of them stays
		{"NotAllowedError", "This page may not use your microphone."}, {"NotFoundError", "No microphone was found."}, {"NotReadableError", "The microphone is used by another program."},
	} {
		name, want := tt[0], tt[1]
		alice.js(fmt.Sprintf(`(() => { window.lend ??= navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
			navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', %q); }; })()`, name))
		alice.types("#to", "echo")
		alice.press("Call")
		alice.sees(want)
		if name == "NotAllowedError" {
			alice.looks("no-microphone")
		}
		alice.press("Close")
	}
	alice.press("Sound settings")
	alice.sees("The microphone is used by another program.")
	alice.js("document.querySelector('#sound').close()")
	alice.js("navigator.mediaDevices.getUserMedia = window.lend")

	bob := openPhone(t, s, "bob", "/phone")
	bob.press("Continue as bob")
	bob.sees("Ready")
	alice.types("#to", "bob")
	alice.press("Call")
	bob.press("Answer")
	alice.sees("Connected")
	alice.press("Hold")
	alice.sees("On hold")
	bob.sees("alice has put you on hold")
	bob.until(phone + ".call.quality != null")
	alice.looks("hold")
	bob.looks("held")
	bob.press("Hang up")
	alice.sees("bob hung up.")
	alice.press("Close")

	// Over http there is no microphone; the way to https is offered.
	plain := openPhone(t, s, "plain", "/phone")
	plain.js("(() => { Object.defineProperty(window, 'isSecureContext', {value: false}); document.querySelector('signalbox-phone').requestUpdate(); })()")
	plain.sees("browsers lend the microphone to https pages only")
	plain.until("document.querySelector('.notice a')?.href === 'https://localhost:" + portOf(s.https) + "/phone'")
	plain.looks("http")

	// The keyboard is enough: the first field has a label, Enter calls, and Escape closes the dialog.
	alice.js("document.querySelector('#to').focus()")
	alice.js("(() => { document.querySelector('#to').value = 'nobody'; document.querySelector('#to').form.requestSubmit(); })()")
	alice.sees("There is nobody called nobody here.")
	alice.until("document.activeElement.textContent.trim() === 'Close'") // the focus does not get lost with the field it was in
	if unnamed := alice.js(`[...document.querySelectorAll('button, input, select, [role=meter], details summary')]
		.filter(e => e.checkVisibility() && !(e.ariaLabel || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML).join('\n')`); unnamed != "" {
		t.Errorf("a screen reader has no name for\n%s", unnamed)
	}
	alice.press("Close")

	s.stop()
	bob.sees("The connection to the server was lost.")
	bob.looks("lost")
	if err := chromedp.Do(plain.ctx, chromedp.Reload()); err == nil {
		t.Error("the server is still there")
	}
	results.passed(t, "Phone page in Chromium", "what is in the way is said: password, microphone, http, a server that has gone", "TestPhonePageTrouble", "wss")
}
