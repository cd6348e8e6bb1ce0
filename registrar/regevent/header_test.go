package regevent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"signalbox/internal/wire"
)

func subscribe(t testing.TB, headers string) *wire.Request {
	t.Helper()
	m, err := wire.Parse([]byte("SUBSCRIBE sip:alice@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:alice@example.org>;tag=1\r\n" +
		"To: <sip:alice@example.org>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\n" + headers + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*wire.Request)
}

func code(err error) int {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// RFC 6665, 8.2.1 and 3.1.2; RFC 3680, 4.1: one package, compared byte by byte; id is kept, other parameters are not.
func TestReadEvent(t *testing.T) {
	for header, want := range map[string]string{
		"Event: reg\r\n":                 "reg",
		"o: reg\r\n":                     "reg",
		"Event: reg ; x=y\r\n":           "reg",
		"Event: reg;id=7\r\n":            "reg;id=7",
		"Event: reg; param=a; id=7b\r\n": "reg;id=7b",
		"Event: Reg\r\n":                 "489",
		"Event: reg.winfo\r\n":           "489",
		"Event: presence\r\n":            "489",
		"Event: reg, reg\r\n":            "489",
		"Event: reg\r\nEvent: reg\r\n":   "489",
		"Event:\r\n":                     "489",
		"":                               "489",
		"Event: reg;id=\r\n":             "400",
		"Event: reg;id=\"a b\"\r\n":      "400",
	} {
		got, err := readEvent(subscribe(t, header))
		if err != nil {
			got = map[int]string{489: "489", 400: "400"}[code(err)]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// RFC 3680, 4.5 and RFC 3261, 20.1: who says what it reads must read our format.
func TestAccepts(t *testing.T) {
	for header, want := range map[string]bool{
		"":                                    true,
		"Accept: application/reginfo+xml\r\n": true,
		"Accept: Application/RegInfo+XML;q=0.5\r\n":              true,
		"Accept: text/plain, application/reginfo+xml\r\n":        true,
		"Accept: application/*\r\n":                              true,
		"Accept: */*;q=0.1\r\n":                                  true,
		"Accept: application / reginfo+xml\r\n":                  true,
		"Accept: application/reginfo+xml;q=0\r\n":                false,
		"Accept: application/reginfo+xml;q=0.000\r\n":            false,
		"Accept: application/pidf+xml\r\nAccept: text/plain\r\n": false,
		"Accept:\r\n": false,
	} {
		if got := accepts(subscribe(t, header)); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

// RFC 6665, 3.1.1 and 4.2.1.1; RFC 3680, 4.4: the default, the least, and never longer than asked for.
func TestReadExpires(t *testing.T) {
	for header, want := range map[string]any{
		"":                          3761 * time.Second,
		"Expires: 0\r\n":            time.Duration(0),
		"Expires: 60\r\n":           time.Minute,
		"Expires: 600000\r\n":       MaxExpires,
		"Expires: 4294967295\r\n":   MaxExpires,
		"Expires: 1\r\n":            423,
		"Expires: 59\r\n":           423,
		"Expires: 4294967296\r\n":   400,
		"Expires: -1\r\n":           400,
		"Expires: +60\r\n":          400,
		"Expires: 60s\r\n":          400,
		"Expires: 0x3c\r\n":         400,
		"Expires:\r\n":              400,
		"Expires: 60;refresh\r\n":   400,
		"Expires: 60\r\nEvent: x\n": time.Minute,
	} {
		got, err := readExpires(subscribe(t, strings.TrimSuffix(header, "Event: x\n")))
		switch want := want.(type) {
		case time.Duration:
			if err != nil || got != want {
				t.Errorf("%q: %v, %v", header, got, err)
			}
		case int:
			if code(err) != want {
				t.Errorf("%q: %v, %v, want %d", header, got, err, want)
			}
		}
	}
}

// FuzzSubscribe gives every SUBSCRIBE that can be parsed to the readers: no panic, and what is accepted fits into a header line and a document.
func FuzzSubscribe(f *testing.F) {
	f.Add("reg;id=1", "application/reginfo+xml;q=0.5, */*", "3600")
	f.Add("reg;id=\"", ",,;q=", "00000000000000000000060")
	f.Add("reg;;id=a;id=b", "application/;q=\x00", "")
	f.Fuzz(func(t *testing.T, event, accept, expires string) {
		req := wire.NewRequest("SUBSCRIBE", wire.URI{Raw: "sip:alice@example.org"})
		wire.Add(req, "Event", event)
		wire.Add(req, "Accept", accept)
		wire.Add(req, "Expires", expires)
		if value, err := readEvent(req); err == nil && value != packageName && (!strings.HasPrefix(value, "reg;id=") || !isToken(value[len("reg;id="):])) {
			t.Errorf("Event %q became %q", event, value)
		}
		accepts(req)
		if d, err := readExpires(req); err == nil && (d < 0 || d > MaxExpires || d > 0 && d < MinExpires) {
			t.Errorf("Expires %q became %v", expires, d)
		}
	})
}
