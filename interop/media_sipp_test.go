package interop

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A page and SIPp call each other, once from each side. SIPp sends back what it hears, so that the page hears its own tone; packets are counted on their way, and
// none comes after the BYE.
func TestBrowserAndSIPp(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("SKIPPED: sipp is not installed (interop/tools.sh installs it)")
	}
	for _, tt := range []struct{ kind, transport, caller string }{{jssip, "udp", "browser"}, {jssip, "tcp", "SIPp"}, {sipjs, "udp", "SIPp"}} {
		t.Run(tt.kind+"-"+tt.caller, func(t *testing.T) {
			t.Parallel()
			s := newWebServer(t, "", "alice", "bob")
			alice := openPage(t, s, tt.kind, "alice", "wss", 440)
			var bob *phone
			if tt.caller == "browser" {
				bob = s.phone(tt.transport, "answer", "bob")
				reg := s.phone(tt.transport, "register", "bob")
				reg.contact = bob.contact
				reg.inject("bob", "bob", "")
				reg.run()
			} else {
				bob = s.phone(tt.transport, "call", "bob")
				bob.inject("bob", "alice", "")
				bob.args = append(bob.args, "-d", "15000") // ms until its BYE
			}
			bob.args = append(bob.args, "-m", "1")
			sound := bob.echoes()
			bob.start()
			if tt.caller == "browser" {
				alice.call("bob")
			} else {
				alice.wait("incoming", nil)
				alice.answer()
			}
			alice.wait("confirmed", nil)
			heard := alice.hears(440)
			if heard.Lost != 0 || heard.Codec != "audio/PCMU" {
				t.Errorf("the page counted %+v", heard)
			}
			sound.flows(t, 100)
			if tt.caller == "browser" {
				alice.hangup()
			}
			alice.wait("ended", nil)
			bob.wait()
			sound.quiet(t)
			results.passed(t, tt.kind+" in Chromium and SIPp", "A call from the "+map[string]string{"browser": "page", "SIPp": "phone"}[tt.caller]+": packets both ways, counted, and none after the BYE", "TestBrowserAndSIPp", tt.transport)
		})
	}
}

// tap is where a phone says that it takes RTP. It passes everything on, both ways, and counts.
type tap struct {
	near, far          *net.UDPConn // towards the bridge, and towards the phone
	toPhone, fromPhone atomic.Int64
	bridge             atomic.Pointer[net.UDPAddr] // where RTP comes from
}

// echoes lets a SIPp send back the RTP that it gets, by a tap.
func (p *phone) echoes() *tap {
	p.t.Helper()
	echo := freeAddr(p.t)
	nextPort.next() // SIPp takes a port for video as well
	p.args = append(p.args, "-rtp_echo", "-mp", portOf(echo))
	t := &tap{near: listenUDP(p.t), far: listenUDP(p.t)}
	to, err := net.ResolveUDPAddr("udp", echo)
	if err != nil {
		p.t.Fatal(err)
	}
	go t.pass(t.near, t.far, &t.toPhone, func(from *net.UDPAddr) *net.UDPAddr { t.bridge.Store(from); return to })
	go t.pass(t.far, t.near, &t.fromPhone, func(*net.UDPAddr) *net.UDPAddr { return t.bridge.Load() })

	// The scenario is the one that is played elsewhere, but for the port.
	i := 1
	for p.args[i-1] != "-sf" {
		i++
	}
	scenario, err := os.ReadFile(p.args[i])
	if err != nil {
		p.t.Fatal(err)
	}
	p.args[i] = filepath.Join(p.dir, p.name+".xml")
	port := strconv.Itoa(t.near.LocalAddr().(*net.UDPAddr).Port)
	p.file(p.name+".xml", strings.ReplaceAll(string(scenario), "m=audio 6000 ", "m=audio "+port+" "))
	return t
}

func (t *tap) pass(in, out *net.UDPConn, count *atomic.Int64, to func(from *net.UDPAddr) *net.UDPAddr) {
	b := make([]byte, 2000)
	for {
		n, from, err := in.ReadFromUDP(b)
		if err != nil {
			return
		}
		count.Add(1)
		if far := to(from); far != nil {
			_, _ = out.WriteToUDP(b[:n], far)
		}
	}
}

// flows waits until so many packets have come back.
func (t *tap) flows(test *testing.T, packets int64) {
	test.Helper()
	for deadline := time.Now().Add(patience); t.fromPhone.Load() < packets; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			test.Fatalf("%d packets went to SIPp, %d came from it", t.toPhone.Load(), t.fromPhone.Load())
		}
	}
}

// quiet waits until what is on its way has come, and fails if the bridge goes on.
func (t *tap) quiet(test *testing.T) {
	test.Helper()
	last, since := t.toPhone.Load(), time.Now()
	for deadline := time.Now().Add(patience); time.Since(since) < 500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if n := t.toPhone.Load(); n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			test.Fatalf("RTP goes on after the BYE: %d packets", last)
		}
	}
}
