package interop

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

const phoneURN = `+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>"`

var gruuParam = regexp.MustCompile(`(pub|temp)-gruu="([^"]*)"`)

// registerFlow registers as a flow behind NAT and returns both GRUUs.
func registerFlow(u *ua, regID string) (pub, temp string) {
	u.t.Helper()
	res := u.ask("REGISTER", "sip:"+domain, "Contact: <sip:"+u.user+"@10.0.0.1;transport="+u.proto+">;"+phoneURN+";reg-id="+regID, "Supported: path, outbound, gruu")
	if res.code() != 200 || res.get("Require") != "outbound" || res.get("Flow-Timer") == "" {
		u.t.Fatalf("%s", res.bytes())
	}
	found := gruuParam.FindAllStringSubmatch(string(res.bytes()), -1)
	if len(found) < 2 {
		u.t.Fatalf("no GRUUs\n%s", res.bytes())
	}
	return found[0][2], found[1][2]
}

// RFC 5626, 7 and RFC 5627, 5.3, on the running program: a flow is found by its GRUUs, by nothing once its connection is closed, by the same GRUUs when the
// phone is back by another, and after kill -9.
func TestFlows(t *testing.T) {
	t.Parallel()
	s := newServer(t, "", "alice", "bob")
	alice := s.dial("udp", "alice")
	bob := s.dial("tcp", "bob")
	pub, temp := registerFlow(bob, "1")
	message := func(uri string, want int) {
		t.Helper()
		req := alice.request("MESSAGE", uri, "To: <"+uri+">")
		alice.send(req)
		res := alice.read(10 * time.Second)
		if res.code() == 407 {
			req = alice.request("MESSAGE", uri, "To: <"+uri+">", "Proxy-Authorization: "+alice.answer(res.get("Proxy-Authenticate"), "MESSAGE", uri))
			alice.send(req)
			if want == 200 {
				bob.await("MESSAGE", 10*time.Second)
			}
			res = alice.read(10 * time.Second)
		}
		if res.code() != want {
			t.Errorf("MESSAGE %s: %s, want %d", uri, res.start, want)
		}
	}
	for _, uri := range []string{"sip:bob@" + domain, pub, temp} {
		message(uri, 200)
	}
	message(pub[:len(pub)-1]+"1", 404)
	bob.conn.Close()
	waitFor(t, "loss of the flow", func() bool { return len(s.registered("bob")) == 0 })
	for _, uri := range []string{"sip:bob@" + domain, pub, temp} {
		message(uri, 480)
	}
	bob.connect(s)
	if again, _ := registerFlow(bob, "1"); again != pub {
		t.Errorf("another public GRUU: %s, %s", pub, again)
	}
	message(temp, 200)

	// Over UDP the flow outlives the server.
	bob = s.dial("udp", "bob")
	bob.cseq = 100
	pub, temp = registerFlow(bob, "1")
	s.kill()
	s.start()
	for _, uri := range []string{"sip:bob@" + domain, pub, temp} {
		message(uri, 200)
	}
	if strings.Contains(pub, "00000000") {
		t.Error("the GRUU tells which phone that is")
	}
	for _, transport := range []string{"udp", "tcp"} {
		results.passed(t, "A client of ours", "Flows and GRUUs: a lost connection, its return, kill -9", "TestFlows", transport)
	}
}
