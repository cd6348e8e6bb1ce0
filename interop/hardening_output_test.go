package interop

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"
)

// hardening 18: user part, header name, package and watcher's URI of the size of a message, written into refusals, NOTIFYs, the log, the feed and what the command line and the
// metrics show: every answer is one, every document can be read, no line of the log grows with what it tells, and the next request is served.
func TestHugeWords(t *testing.T) {
	t.Parallel()
	s := newServer(t, "[log]\nformat = \"json\"\nlevel = \"debug\"\n", "alice", "bob")
	const awkward = "&'$;?/%22%3C%3E%00" // what a user part may hold and JSON, XML and CSV write with more letters
	word := func(n int) string { return strings.Repeat(awkward, n/len(awkward)) }
	const huge = 60_000
	for _, proto := range []string{"udp", "tcp"} {
		for _, tt := range []struct{ name, method, uri, field, want string }{
			{"Request-URI", "OPTIONS", "sip:" + word(huge) + "@" + domain, "", "414"},
			{"Request-URI, as long as one may be", "MESSAGE", "sip:" + word(3000) + "@" + domain, "", "404"},
			{"scheme", "OPTIONS", strings.Repeat("x", 4000) + ":y", "", "416"},
			{"From", "SUBSCRIBE", "sip:alice@" + domain, "From: <sip:" + word(huge) + "@" + domain + ">;tag=1", ""},
			{"watcher's URI", "SUBSCRIBE", "sip:alice@" + domain, "From: <sip:" + word(4000) + "@" + domain + ">;tag=1", ""},
			{"subscriber's Contact", "SUBSCRIBE", "sip:alice@" + domain, "Contact: <sip:" + word(4000) + "@127.0.0.1>", ""},
			{"To", "REGISTER", "sip:" + domain, "To: <sip:" + word(4000) + "@" + domain + ">", ""},
			{"Contact", "REGISTER", "sip:" + domain, "Contact: <sip:" + word(4000) + "@127.0.0.1>", ""},
			{"name of a header field", "MESSAGE", "sip:bob@" + domain, strings.Repeat("N", huge) + ": 1", ""},
			{"header field", "MESSAGE", "sip:bob@" + domain, "Subject: " + word(huge), ""},
			{"event package", "SUBSCRIBE", "sip:alice@" + domain, "Event: " + strings.Repeat("e", 16_000), ""},
			{"Require", "REGISTER", "sip:" + domain, "Require: " + strings.Repeat("r", 16_000), "420"},
			{"Proxy-Require", "MESSAGE", "sip:bob@" + domain, "Proxy-Require: " + strings.Repeat("r", 16_000), "420"},
			{"Call-ID", "REGISTER", "sip:" + domain, "Call-ID: " + strings.Repeat("c", 16_000), ""},
			{"branch", "OPTIONS", "sip:" + domain, "Via: SIP/2.0/" + strings.ToUpper(proto) + " 127.0.0.1;rport;branch=z9hG4bK" + proto + strings.Repeat("b", 16_000), ""},
			{"realm", "MESSAGE", "sip:bob@" + domain, `Proxy-Authorization: Digest username="` + strings.Repeat("u", 16_000) + `", realm="` + domain + `"`, ""},
		} {
			u := s.dial(proto, "alice")
			fields := []string{"Event: reg", "To: <sip:alice@" + domain + ">"}
			if tt.field != "" {
				fields = append(fields, tt.field)
			}
			res := u.ask(tt.method, tt.uri, fields...)
			if code := fmt.Sprint(res.code()); tt.want != "" && code != tt.want || code[0] != '4' && code != "200" && code != "513" {
				t.Errorf("%s over %s: %.200s, want %s", tt.name, proto, res.start, tt.want)
			}
			if n := len(res.bytes()); n > 64<<10 {
				t.Errorf("%s over %s: an answer of %d bytes", tt.name, proto, n)
			}
		}
	}

	// What may be registered at most, and everything that tells of it.
	u := s.dial("tcp", "alice")
	contact := func(i int) string {
		return fmt.Sprintf(`<sip:%d%s@%s;transport=tcp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-00000000000%d>"`, i, word(850), u.conn.LocalAddr(), i)
	}
	for i := range 10 {
		if res := u.ask("REGISTER", "sip:"+domain, "Contact: "+contact(i), "User-Agent: "+word(16_000)); res.code() != 200 {
			t.Fatalf("contact %d: %s", i, res.start)
		}
	}
	if res := u.ask("SUBSCRIBE", "sip:alice@"+domain, "Event: reg", "Contact: "+u.contact()); res.code() != 200 {
		t.Fatal(res.start)
	}
	document := u.await("NOTIFY", 20*time.Second).body
	var r registrations
	if err := xml.Unmarshal([]byte(document), &r); err != nil || len(r.Registration.Contacts) != 10 {
		t.Fatalf("%d contacts, %v", len(r.Registration.Contacts), err)
	}
	for _, c := range r.Registration.Contacts {
		if !strings.Contains(c.URI, word(850)) {
			t.Errorf("told of %.300s", c.URI)
		}
	}
	s.waitEvents("subscribed")
	for line := range strings.Lines(s.command("events")) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the feed says %.300s", line)
		}
	}
	for _, show := range [][]string{{"reg", "list", "-o", "json"}, {"device", "list", "-o", "json"}, {"reg", "show", "alice", "-o", "json"}} {
		if out := s.command(show...); !json.Valid([]byte(out)) || !strings.Contains(out, "alice") {
			t.Errorf("%s: %.300s", show, out)
		}
	}
	if list := s.command("reg", "list"); strings.Contains(list, "\x00") {
		t.Error("the table has NULs")
	}
	if res := s.dial("udp", "bob").ask("OPTIONS", "sip:"+domain); res.code() != 200 {
		t.Errorf("afterwards: %s", res.start)
	}
	s.stop()
	for line := range strings.Lines(s.out.String()) {
		if len(line) > 4<<10 || !json.Valid([]byte(line)) {
			t.Errorf("the log has a line of %d bytes: %.300s", len(line), line)
		}
	}
}
