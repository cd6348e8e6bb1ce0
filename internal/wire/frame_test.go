package wire

import (
	"fmt"
	"strings"
	"testing"
)

// drain takes what Next has.
func drain(f *Framer) (msgs []string, pings int, err *Error) {
	for {
		msg, ping, ok, err := f.Next()
		pings += ping
		if ok {
			msgs = append(msgs, string(msg))
			continue
		}
		return msgs, pings, err
	}
}

// feed writes s in pieces of n bytes.
func feed(t testing.TB, f *Framer, s string, n int) (msgs []string, pings int, err *Error) {
	t.Helper()
	for s != "" && err == nil {
		k := min(n, len(s))
		if err := f.Write([]byte(s[:k])); err != nil {
			t.Fatal(err)
		}
		s = s[k:]
		var more []string
		var p int
		more, p, err = drain(f)
		msgs, pings = append(msgs, more...), pings+p
	}
	return msgs, pings, err
}

// RFC 3261, 18.3: Content-Length frames the stream, however the bytes come.
func TestFramer(t *testing.T) {
	folded := with("Content-Length:\r\n 3\r\nSubject: a\r\n b: c") + "\xc3\xa9!"
	empty := with("l : 0")
	messages := []string{benchInvite, empty, folded, benchRegister, benchOK}
	stream := "\r\n" + benchInvite + empty + "\r\n" + folded + "\r\n\r\n" + benchRegister + "\r\n" + benchOK + "\r\n\r\n\r\n\r\n"
	for _, n := range []int{1, 2, 3, 7, 100, 1000, len(stream)} {
		var f Framer
		msgs, pings, err := feed(t, &f, stream, n)
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if strings.Join(msgs, "|") != strings.Join(messages, "|") {
			t.Errorf("%d: %q", n, msgs)
		}
		// RFC 5626, 4.4.1: CRLFCRLF is a ping, a CRLF alone is none.
		if pings != 3 || f.Buffered() != 0 {
			t.Errorf("%d: %d pings, %d bytes left", n, pings, f.Buffered())
		}
		for _, msg := range msgs {
			if _, err := Parse([]byte(msg)); err != nil {
				t.Errorf("%v: %q", err, msg)
			}
		}
	}
}

// hardening 1: a length that wraps, or is none, breaks the stream; what follows is never read as a message.
func TestFramerContentLength(t *testing.T) {
	const inner = "OPTIONS sip:inner@example.org SIP/2.0\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		length string
		code   int
	}{
		{"4294967328", 513}, {"18446744073709551616", 400}, {"18446744073709551648", 400}, {"5 5", 400}, {"2147483648", 513}, {"-999", 400},
		{"+5", 400}, {"0x10", 400}, {"", 400}, {"12345678901234567890", 400}, {"five", 400}, {"0\r\n 5", 400}, {"5,5", 400}, {"65536", 513}, {"65535", 513},
	} {
		outer := with("Content-Length: "+tt.length) + strings.Repeat("x", 32)
		for _, n := range []int{1, 4096} {
			var f Framer
			msgs, _, err := feed(t, &f, outer+inner, n)
			if codeOf(err) != tt.code || len(msgs) != 0 {
				t.Errorf("%q: %v, want %d, and got %q", tt.length, err, tt.code, msgs)
			}
			if err := f.Write([]byte(inner)); err == nil {
				t.Errorf("%q: the broken stream takes more", tt.length)
			}
			if msg, _, ok, err := f.Next(); ok || err == nil {
				t.Errorf("%q: the broken stream gives %q", tt.length, msg)
			}
		}
	}
}

// hardening 2: two lengths, or none. hardening 9: line ends. The head comes with the error, so that it can be answered.
func TestFramerErrors(t *testing.T) {
	for name, text := range map[string]string{
		"LF for CRLF":               strings.ReplaceAll(with("Content-Length: 0"), "\r\n", "\n"),
		"two lengths":               with("Content-Length: 0\r\nContent-Length: 5"),
		"two lengths, both right":   with("Content-Length: 0\r\nContent-Length: 0"),
		"l and Content-Length":      with("l: 5\r\nContent-Length: 0"),
		"space before the colon":    with("l: 5\r\nContent-Length : 0"),
		"no length: RFC 3261, 18.3": options + "\r\n",
		"length of another name":    with("Content-Length\x01: 0"),
		"bare LF":                   strings.Replace(with("Content-Length: 0"), "\r\nFrom", "\nFrom", 1),
		"bare CR":                   strings.Replace(with("Content-Length: 0"), "\r\nFrom", "\rFrom", 1),
		"CR CR LF":                  strings.Replace(with("Content-Length: 0"), "\r\nFrom", "\r\r\nFrom", 1),
	} {
		for _, n := range []int{1, 4096} {
			var f Framer
			if err := f.Write([]byte(text[:1])); err != nil {
				t.Fatal(err)
			}
			rest := text[1:]
			for {
				k := min(n, len(rest))
				if k == 0 {
					t.Errorf("%s: no error", name)
					break
				}
				if err := f.Write([]byte(rest[:k])); err != nil {
					t.Fatal(err)
				}
				rest = rest[k:]
				msg, _, ok, err := f.Next()
				if ok {
					t.Errorf("%s: gives %q", name, msg)
				}
				if err == nil {
					continue
				}
				if n == 1 && name == "LF for CRLF" {
					break // it has one line by then
				}
				m, _ := Parse(msg)
				if req, ok := m.(*Request); err.Code != 400 || !ok || req.Via.Branch == "" || n > 1 && (req.CSeq.Seq != 7 || req.CallID == "") {
					t.Errorf("%s: %v cannot be answered: %q", name, err, msg)
				}
				break
			}
		}
	}
}

// hardening 3: a length costs nothing; only received bytes are held, and an idle stream gives them back.
func TestFramerMemory(t *testing.T) {
	head := with("Content-Length: 60000")
	var f Framer
	if msgs, _, err := feed(t, &f, head, 100); err != nil || len(msgs) != 0 {
		t.Fatal(msgs, err)
	}
	if cap(f.buf) > 4*len(head) {
		t.Errorf("%d bytes for a head of %d", cap(f.buf), len(head))
	}
	if msgs, _, err := feed(t, &f, strings.Repeat("x", 60000), 1000); err != nil || len(msgs) != 1 {
		t.Fatal(len(msgs), err)
	}
	if cap(f.buf) > 4*MaxMessage {
		t.Errorf("%d bytes for a message of %d", cap(f.buf), 60000+len(head))
	}
	if _, pings, err := feed(t, &f, "\r\n\r\n", 4); pings != 1 || err != nil || cap(f.buf) > keepBuffer {
		t.Errorf("idle: %d bytes kept, %d pings, %v", cap(f.buf), pings, err)
	}
}

// A header without end is refused when it is larger than any message, and a reader that does not call Next is told.
func TestFramerEndless(t *testing.T) {
	var f Framer
	var last *Error
	for i := 0; last == nil && i < 1000; i++ {
		_, _, last = feed(t, &f, fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("x", 1000)), 5000)
	}
	if codeOf(last) != 513 {
		t.Errorf("%v", last)
	}
	f = Framer{}
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = f.Write(make([]byte, 1000))
	}
	if err == nil || len(f.buf) > MaxMessage+1000 {
		t.Errorf("%v, %d bytes", err, len(f.buf))
	}
}

// A dribbling peer costs what its bytes cost: each is looked at once, however they come.
func TestFramerLinear(t *testing.T) {
	var f Framer
	for i := range 60000 {
		if err := f.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
		if _, _, ok, err := f.Next(); ok || err != nil {
			t.Fatal(ok, err)
		}
		if f.scan != i+1 {
			t.Fatalf("byte %d: looked at %d", i, f.scan)
		}
	}
}
