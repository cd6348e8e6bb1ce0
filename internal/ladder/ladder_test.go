package ladder

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sample = `# RFC 3261, 17.1.1.2: an INVITE without an answer is repeated.
phone bob 192.0.2.2 tcp

  0.000s  alice -> proxy  INVITE sip:bob@[2001:db8::2] [call=2 lost]
              Max-Forwards: 0
              -Contact
              | hello
              |
# why
  0.500s  proxy -> alice  200 OK (BYE)
 12.250s  bob closes
100.000s  end
`

func TestScriptRoundTrip(t *testing.T) {
	s, err := Parse("sample.ladder", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample, string(s.Format())); diff != "" {
		t.Error(diff)
	}
	want := Entry{
		Line: 4, Kind: Message, From: "alice", To: "proxy", Start: "INVITE sip:bob@[2001:db8::2]",
		Flags:  []string{"call=2", "lost"},
		Fields: []Field{{Name: "Max-Forwards", Value: "0"}, {Name: "Contact", Absent: true}},
		Body:   []string{"hello", ""},
	}
	if diff := cmp.Diff(want, s.Entries[0]); diff != "" {
		t.Error(diff)
	}
	if v, ok := s.Entries[0].Flag("call"); v != "2" || !ok {
		t.Errorf("Flag(call) = %q, %v", v, ok)
	}
	if diff := cmp.Diff([]Directive{{Line: 2, Words: []string{"phone", "bob", "192.0.2.2", "tcp"}}}, s.Directives); diff != "" {
		t.Error(diff)
	}
}

func TestScriptErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no end", "0s a -> b  BYE\n", "last entry"},
		{"time goes back", "2s a -> b  BYE\n1s end\n", "backwards"},
		{"no message", "0s a -> b\n1s end\n", ":1:"},
		{"no arrow", "0s a says BYE now\n1s end\n", "FROM -> TO"},
		{"open flags", "0s a -> b  BYE [lost\n1s end\n", "flags"},
		{"no time", "0s a -> b  BYE\na -> b  BYE\n1s end\n", ":2:"},
		{"bad header", "0s a -> b  BYE\n  lost message\n1s end\n", "Name: value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.ladder", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}

const register = "REGISTER sip:example.org SIP/2.0\r\n" +
	"To: <sip:alice@example.org>\r\n" +
	"CSeq: 2 REGISTER\r\n" +
	"Authorization: Digest username=\"alice\", response=\"0123456789abcdef\", nc=00000001\r\n" +
	"Subject: \x1b[31mred\x07\xff \u00e9 \u202e\r\n" +
	"Content-Length: 4\r\n\r\na\r\nb"

func TestTrace(t *testing.T) {
	for _, tt := range []struct{ name, msg, want string }{
		{"request", register, `  1.500s  alice -> proxy  REGISTER sip:example.org
              To: <sip:alice@example.org>
              CSeq: 2 REGISTER
              Authorization: Digest username="alice", response="*", nc=00000001
              Subject: \x1b[31mred\x07\xff é \xe2\x80\xae
              Content-Length: 4
              | a
              | b
`},
		{"response", "SIP/2.0 200 OK\r\ncseq : 1  BYE\r\n\r\n", "  1.500s  alice -> proxy  200 OK (BYE)\n              cseq : 1  BYE\n"},
		{"response to INVITE", "SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE\r\n\r\n", "  1.500s  alice -> proxy  180 Ringing\n              CSeq: 1 INVITE\n"},
		{"session token", "SIP/2.0 200 OK\r\nsession-token: abc.def\r\nCSeq: 1 REGISTER\r\n\r\n", "  1.500s  alice -> proxy  200 OK (REGISTER)\n              session-token: *\n              CSeq: 1 REGISTER\n"},
		{"bearer", "BYE sip:a@b SIP/2.0\r\nproxy-authorization: Bearer abc.def\r\n\r\n", "  1.500s  alice -> proxy  BYE sip:a@b\n              proxy-authorization: Bearer *\n"},
		{"unterminated digest", "BYE sip:a@b SIP/2.0\r\nAuthorization: Digest response=\"secret\r\n\r\n", "  1.500s  alice -> proxy  BYE sip:a@b\n              Authorization: Digest response=\"*\n"},
		{"empty", "", "  1.500s  alice -> proxy  \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := AppendTrace(nil, 1500*time.Millisecond, "alice", "proxy", []byte(tt.msg))
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// hardening 71: whatever a peer sends, the trace is printable, bounded, and every line of it belongs to one entry.
func FuzzTrace(f *testing.F) {
	f.Add([]byte(register))
	f.Add([]byte("SIP/2.0 200 OK\r\nCSeq:BYE\n\nx"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got := string(AppendTrace(nil, 0, "a", "b", msg))
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) > maxTraceLines+2 {
			t.Errorf("%d lines", len(lines))
		}
		for i, line := range lines {
			if i > 0 && !strings.HasPrefix(line, indent) {
				t.Errorf("line %d is not indented: %q", i, line)
			}
			for _, r := range line {
				if r < ' ' || r == 0x7f {
					t.Errorf("control character in %q", line)
				}
			}
		}
	})
}

func BenchmarkTrace(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendTrace(buf[:0], time.Second, "192.0.2.1:5060", "192.0.2.100:5060", []byte(register))
	}
}
