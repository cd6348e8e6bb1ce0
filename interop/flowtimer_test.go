package interop

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// stun sends a binding request over the phone's flow and returns the type of the answer. RFC 5626, 4.4.2
func (u *ua) stun() uint16 {
	u.t.Helper()
	req := binary.BigEndian.AppendUint16(nil, 0x0001)
	req = binary.BigEndian.AppendUint32(append(req, 0, 0), 0x2112A442)
	if _, err := u.conn.Write(append(req, "twelve bytes"...)); err != nil {
		u.t.Fatal(err)
	}
	b := make([]byte, 65535)
	_ = u.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, err := u.conn.Read(b)
		switch {
		case err != nil:
			u.t.Fatalf("no answer to a keep-alive: %v", err)
		case n >= 20 && b[0] < 4: // RFC 5764, 5.1.2
			return binary.BigEndian.Uint16(b)
		case !strings.HasPrefix(string(b[:n]), "OPTIONS "): // who keeps silent is asked, and that may come late, and again
			u.t.Fatalf("a keep-alive is answered by %q", b[:n])
		}
	}
}

// RFC 5626, 5.4 and 7, on the running program: a phone with two flows keeps one alive and forgets the other. That one is asked, and lost; a message goes over the other at once, and the
// forgotten one learns of it by the answer to its next keep-alive (RFC 5626, 4.4.2). A REGISTER brings it back.
func TestFlowTimerMissed(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "alice", "bob")
	kept, forgotten := s.dial("udp", "bob"), s.dial("udp", "bob")
	forgotten.cseq = 100 // or it would be the same request by another way
	registerFlow(kept, "1")
	registerFlow(forgotten, "2")
	for end := time.Now().Add(60 * time.Second); len(s.registered("bob")) == 2; { // the time is the subject: Flow-Timer is 29 s
		if time.Now().After(end) {
			t.Fatal("the silent flow is not lost")
		}
		if kind := kept.stun(); kind != 0x0101 {
			t.Fatalf("keep-alive of the living flow answered by %04x", kind)
		}
		time.Sleep(2 * time.Second)
	}
	if m := forgotten.read(10 * time.Second); !strings.HasPrefix(m.start, "OPTIONS ") {
		t.Errorf("it was asked by %q", m.start)
	}
	if code := s.dial("udp", "alice").deliver("sip:bob@"+domain, kept); code != 200 {
		t.Errorf("MESSAGE to bob: %d", code)
	}
	if kind := forgotten.stun(); kind != 0x0111 { // and no MESSAGE comes before it
		t.Errorf("keep-alive of the dead flow answered by %04x", kind)
	}
	registerFlow(forgotten, "2")
	if n := len(s.registered("bob")); n != 2 || forgotten.stun() != 0x0101 {
		t.Errorf("%d contacts after the return", n)
	}
	results.passed(t, "A client of ours", "RFC 5626, 5.4: a flow whose keep-alives are missing is lost, the next one is used", "TestFlowTimerMissed", "udp")
}
