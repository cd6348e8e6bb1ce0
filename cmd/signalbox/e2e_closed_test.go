package main

import (
	"net"
	"testing"
)

// RFC 3261, 18.4: bob's port is closed: alice hears at once that he is not there, long before a timer would tell (patience is less than 64*T1). When he is back
// he is reached: his binding has stayed. hardening 56
func TestClosedPort(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n")
	addr := p.address("udp")
	p.importUsers("alice", "bob")
	alice := newPhone(t, "alice", "udp", addr, nil)
	bob := newPhone(t, "bob", "udp", addr, nil)

	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := bob.port
	bob.port = gone.LocalAddr().(*net.UDPAddr).Port
	bob.register()
	gone.Close()
	for range 3 {
		if res := alice.text("sip:bob@example.org", "hello?"); res.StatusCode != 480 {
			t.Errorf("a message to a closed port:\n%s", res)
		}
	}
	bob.port = here
	bob.register()
	if res := alice.text("sip:bob@example.org", "hello!"); res.StatusCode != 200 {
		t.Errorf("a message to a phone that is back:\n%s", res)
	}
	if got := want(t, "the message", bob.texts); got != "hello!" {
		t.Errorf("bob reads %q", got)
	}
}
