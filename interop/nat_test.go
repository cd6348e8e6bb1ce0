package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lan is a network of namespaces: the server on the outside, and two homes, each behind a NAT of its own. Inside, both use the same private addresses, as homes do.
//
//	home1 192.168.77.2 -- nat1 198.51.100.2 -- 198.51.100.1 server 203.0.113.1 -- 203.0.113.2 nat2 -- 192.168.77.2 home2
type lan struct {
	t      *testing.T
	name   string
	domain string
}

const (
	server1, server2 = "198.51.100.1", "203.0.113.1"
	homeAddr         = "192.168.77.2"
)

// newLAN makes the network, or skips the test where the machine does not let us.
func newLAN(t *testing.T) *lan {
	t.Helper()
	for _, program := range []string{"nft", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: phones behind NAT: %s is not installed (interop/tools.sh installs it)", program)
		}
	}
	l := newNamespaces(t, "phones behind NAT", "server", "nat1", "nat2", "home1", "home2")
	l.connect("server", "nat1", server1, "198.51.100.2")
	l.connect("server", "nat2", server2, "203.0.113.2")
	for i := 1; i <= 2; i++ {
		nat, home := fmt.Sprint("nat", i), fmt.Sprint("home", i)
		l.connect(nat, home, "192.168.77.1", homeAddr)
		l.run(home, "ip", "route", "add", "default", "via", "192.168.77.1")
		l.run(nat, "sysctl", "-qw", "net.ipv4.ip_forward=1")
		if out, err := l.command(nat, "nft", fmt.Sprintf(`add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; `+
			`add rule ip nat post oifname "to-server" ip saddr 192.168.77.2 masquerade random`)).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: phones behind NAT: no NAT in this kernel: %s", out)
		}
	}
	return l
}

// newNamespaces makes networks of one machine each, or skips the test where the machine does not let us.
func newNamespaces(t *testing.T, what string, names ...string) *lan {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("SKIPPED: %s: network namespaces need root", what)
	}
	l := &lan{t, fmt.Sprintf("sb%d-%d", os.Getpid()%100000, guestNumber.Add(1)%10000), domain}
	t.Cleanup(func() {
		for _, ns := range names {
			_ = exec.Command("ip", "netns", "del", l.ns(ns)).Run()
		}
	})
	for _, ns := range names {
		if out, err := exec.Command("ip", "netns", "add", l.ns(ns)).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: %s: no network namespaces: %s", what, out)
		}
		l.run(ns, "ip", "link", "set", "lo", "up")
	}
	return l
}

func (l *lan) ns(name string) string { return l.name + "-" + name }

// command runs in a namespace; ip becomes the program, so that its process is the program's.
func (l *lan) command(ns string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", l.ns(ns)}, args...)...)
}

func (l *lan) run(ns string, args ...string) {
	l.t.Helper()
	if out, err := l.command(ns, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %q: %v\n%s", ns, args, err, out)
	}
}

// resolver gives a namespace a name server of its own: ip shows the program this file in place of /etc/resolv.conf.
func (l *lan) resolver(ns, addr string) {
	l.t.Helper()
	dir := filepath.Join("/etc/netns", l.ns(ns))
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+addr+"\n"), 0o644)); err != nil {
		l.t.Fatal(err)
	}
}

// connect joins two namespaces by a cable; the interfaces are named after where they lead to.
func (l *lan) connect(a, b, addrA, addrB string) {
	l.t.Helper()
	l.run(a, "ip", "link", "add", "to-"+b, "type", "veth", "peer", "name", "to-"+a, "netns", l.ns(b))
	l.run(a, "ip", "addr", "add", addrA+"/24", "dev", "to-"+b)
	l.run(b, "ip", "addr", "add", addrB+"/24", "dev", "to-"+a)
	l.run(a, "ip", "link", "set", "to-"+b, "up")
	l.run(b, "ip", "link", "set", "to-"+a, "up")
}

// dial connects from inside a namespace.
func (l *lan) dial(ns, addr string) (conn net.Conn, err error) {
	e := l.inside(ns, func() { conn, err = net.Dial("tcp", addr) })
	return conn, errors.Join(e, err)
}

// inside does something in a namespace; sockets that it makes stay there.
func (l *lan) inside(ns string, do func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		f, e := os.Open("/run/netns/" + l.ns(ns))
		if err = e; err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			do()
		}
	}()
	<-done
	return err
}

// serve starts the program on the outside.
func (l *lan) serve(users ...string) *server {
	l.t.Helper()
	return l.serveIn("server", l.domain, []string{server1 + ":5060", server2 + ":5060"}, "", users...)
}

// serveIn starts the program in a namespace, on addresses for UDP and TCP. extra is more TOML.
func (l *lan) serveIn(ns, domain string, listen []string, extra string, users ...string) *server {
	l.t.Helper()
	dir := l.t.TempDir()
	s := &server{t: l.t, dir: dir, conf: filepath.Join(dir, "signalbox.toml")}
	s.file("signalbox.toml", fmt.Sprintf(`domain = %q
[listen]
udp = [%s]
tcp = [%[2]s]
tls = ""
https = ""
[store]
database = "sqlite:data/signalbox.db"
[log]
level = "trace"
%[3]s`, domain, `"`+strings.Join(listen, `", "`)+`"`, extra))
	s.importUsers(domain, users...)
	s.out = &output{}
	s.cmd = l.command(ns, program, "serve", "--config", s.conf)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.stop)
	waitFor(l.t, "server", func() bool {
		c, err := l.dial(ns, listen[0])
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

// baresip starts a phone in a home. dir keeps its identity; "" is a new phone.
func (l *lan) baresip(home, dir, user, server, transport, account string) *baresip {
	l.t.Helper()
	if _, err := exec.LookPath("baresip"); err != nil {
		l.t.Skip("SKIPPED: baresip is not installed (interop/tools.sh installs it)")
	}
	if dir == "" {
		dir = l.t.TempDir()
	}
	b := &baresip{t: l.t, dir: dir, out: &output{}, events: make(chan map[string]any, 1000)}
	tone := filepath.Join(dir, "tone.wav")
	writeTone(l.t, tone, 440)
	b.write("config", fmt.Sprintf(`poll_method epoll
sip_listen %s:5062
audio_source aufile,%s
audio_player alsa,null
audio_alert alsa,null
ausrc_srate 8000
auplay_srate 8000
module_path %s
module g711.so
module aufile.so
module alsa.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:4444
`, homeAddr, tone, modulePath(l.t)))
	b.write("accounts", fmt.Sprintf("<sip:%s@%s>;auth_pass=%s;outbound=\"sip:%s:5060;transport=%s\";regint=600;answermode=auto%s\n", user, l.domain, password(user), server, transport, account))
	b.cmd = l.command(home, "baresip", "-s", "-f", dir)
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	if err := b.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		b.stop()
		if l.t.Failed() {
			l.t.Logf("baresip %s in %s:\n%s", user, home, tail(b.out.String(), 6000))
		}
	})
	b.until("control port", func() (ok bool) {
		var err error
		b.ctrl, err = l.dial(home, "127.0.0.1:4444")
		return err == nil
	})
	l.t.Cleanup(func() { b.ctrl.Close() })
	go b.listen()
	b.until("registration", func() bool { return strings.Contains(b.out.String(), "200 OK") })
	return b
}

// stop ends the phone as a battery does.
func (b *baresip) stop() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
}

// registered are the contacts of a user.
func (s *server) registered(user string) (list []struct {
	Contact, Source, Instance, Transport string
	Behind                               bool `json:"behind_nat"`
}) {
	s.t.Helper()
	out, err := exec.Command(program, "reg", "list", "-o", "json", "--config", s.conf).CombinedOutput()
	if err != nil {
		s.t.Fatalf("reg list: %v\n%s", err, out)
	}
	var all []struct {
		AOR      string          `json:"aor"`
		Contacts json.RawMessage `json:"contacts"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	for _, r := range all {
		if strings.HasPrefix(r.AOR, "sip:"+user+"@") {
			if err := json.Unmarshal(r.Contacts, &list); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return list
}

// calls makes a call that is answered and ended.
func calls(from, to *baresip, uri string) {
	from.t.Helper()
	from.do("dial", uri)
	to.event("CALL_ESTABLISHED")
	from.event("CALL_ESTABLISHED")
	from.do("hangup", "")
	to.event("CALL_CLOSED")
	from.event("CALL_CLOSED")
}

// Two homes with the same private addresses: a phone that knows nothing of NAT, and one with outbound (RFC 5626). They call each other, also when their NATs have
// had the time to forget them.
func TestPhonesBehindNAT(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	s := l.serve("alice", "bob")
	const forget = 27 // seconds; many NATs take 30
	for _, nat := range []string{"nat1", "nat2"} {
		l.run(nat, "sysctl", "-qw", fmt.Sprint("net.netfilter.nf_conntrack_udp_timeout=", forget), fmt.Sprint("net.netfilter.nf_conntrack_udp_timeout_stream=", forget))
	}
	alice := l.baresip("home1", "", "alice", server1, "udp", "")
	bob := l.baresip("home2", "", "bob", server2, "udp", ";sipnat=outbound")
	for _, user := range []string{"alice", "bob"} {
		if c := s.registered(user); len(c) != 1 || !c[0].Behind {
			t.Errorf("%s is registered as %+v", user, c)
		}
	}
	calls(alice, bob, "sip:bob@"+domain)
	calls(bob, alice, "sip:alice@"+domain)

	// RFC 5627: bob was given GRUUs, and is reached by them.
	gruu := regexp.MustCompile(`pub-gruu="([^"]+)"`).FindStringSubmatch(bob.out.String())
	if gruu == nil {
		t.Fatal("baresip was given no GRUU")
	}
	calls(alice, bob, gruu[1])

	time.Sleep((forget + 5) * time.Second) // the time is the subject: a NAT's
	calls(alice, bob, "sip:bob@"+domain)
	calls(bob, alice, "sip:alice@"+domain)
	results.passed(t, "baresip", "Phones behind two NATs, with and without outbound, call each other, also after the NATs' time", "TestPhonesBehindNAT", "udp")
}

// RFC 5626, 6: a phone that turns up in another network replaces its flow at once, by its instance and reg-id, and is rung there only. Its connection lost, it is not rung where it was.
func TestPhoneMoves(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	s := l.serve("alice", "bob")
	bob := l.baresip("home2", "", "bob", server2, "tcp", ";sipnat=outbound")
	before := s.registered("bob")
	bob.stop()
	waitFor(t, "loss of the connection", func() bool { return len(s.registered("bob")) == 0 })
	moved := l.baresip("home1", bob.dir, "bob", server1, "udp", ";sipnat=outbound")
	after := s.registered("bob")
	if len(before) != 1 || len(after) != 1 || before[0].Instance != after[0].Instance || after[0].Instance == "" || before[0].Source == after[0].Source {
		t.Errorf("before the move %+v, after it %+v", before, after)
	}
	alice := l.baresip("home2", "", "alice", server2, "tcp", "")
	calls(alice, moved, "sip:bob@"+domain)
	results.passed(t, "baresip", "A phone moves to another network and transport: same instance, one registration", "TestPhoneMoves", "tcp")
}

// RFC 5626, 5: the program as edge proxy in front of itself as registrar. The phone behind it is called over its flow, and calls; when
// the flow is gone the edge proxy says so, and the caller hears that the phone is not there.
func TestEdgeProxy(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	l.domain = server1 // a number needs no DNS
	l.run("nat2", "ip", "route", "add", "default", "via", server2)
	l.serve("alice", "bob")
	edge := l.serveIn("nat2", "edge.test", []string{"203.0.113.2:5060", "192.168.77.1:5060"}, "[proxy]\nedge = \""+server1+"\"\n")
	alice := l.baresip("home1", "", "alice", server1, "udp", "")
	bob := l.baresip("home2", "", "bob", "192.168.77.1", "tcp", ";sipnat=outbound")
	if !regexp.MustCompile(`Path: <sip:A[^>]*@203.0.113.2:5060;lr;ob>`).MatchString(bob.out.String()) || !strings.Contains(bob.out.String(), "Require: outbound") {
		t.Error("the registrar saw no edge proxy")
	}
	calls(alice, bob, "sip:bob@"+server1)
	calls(bob, alice, "sip:alice@"+server1)
	bob.stop()
	waitFor(t, "loss of the flow", func() bool { return strings.Contains(edge.out.String(), "connection closed") })
	alice.do("dial", "sip:bob@"+server1)
	waitFor(t, "430 of the edge proxy", func() bool { return strings.Contains(edge.out.String(), "430 Flow Failed") })
	waitFor(t, "480 for the caller", func() bool { return strings.Contains(alice.out.String(), "480 Temporarily Unavailable") })
	results.passed(t, "baresip", "A phone behind an edge proxy, both the program: called over its flow, 480 when that is gone", "TestEdgeProxy", "tcp")
}

// linphone starts linphonec in a home, with the identity of dir ("" is a new one), and registers it.
func (l *lan) linphone(home, dir, port, server string) (phone *exec.Cmd, out *output, identity string) {
	l.t.Helper()
	if _, err := exec.LookPath("linphonec"); err != nil {
		l.t.Skip("SKIPPED: linphonec is not installed (interop/tools.sh installs it)")
	}
	if dir == "" {
		dir = l.t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, ".local/share/linphone"), 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	rc := filepath.Join(dir, "linphonerc")
	text := fmt.Appendf(nil, "[misc]\n%s\n[sip]\nsip_port=%s\nsip_tcp_port=0\nsip_tls_port=0\nuse_ipv6=0\nkeepalive_period=0\n", instance(rc), port)
	if err := os.WriteFile(rc, text, 0o600); err != nil {
		l.t.Fatal(err)
	}
	out = &output{}
	phone = l.command(home, "linphonec", "-c", rc, "-d", "6", "-a")
	phone.Env = append(phone.Environ(), "HOME="+dir)
	phone.Stdout, phone.Stderr = out, out
	keys, err := phone.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := phone.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		phone.Process.Kill()
		phone.Wait()
		if l.t.Failed() {
			l.t.Logf("linphonec in %s:\n%s", home, tail(out.String(), 4000))
		}
	})
	waitFor(l.t, "prompt", func() bool { return strings.Contains(out.String(), "linphonec>") })
	fmt.Fprintf(keys, "register sip:bob@%s sip:%s:5060;transport=udp %s\n", domain, server, password("bob"))
	return phone, out, dir
}

// instance is the line of a linphonerc that says which instance it is; "" as long as linphonec has not written one.
func instance(rc string) string {
	text, _ := os.ReadFile(rc)
	return string(regexp.MustCompile(`(?m)^uuid=.*$`).Find(text))
}

// Linphone says which instance it is and knows nothing of flows: when it has moved without a word only its newest contact is rung (RFC 5627, 6.1).
func TestLinphoneMoves(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	s := l.serve("alice", "bob")
	first, _, dir := l.linphone("home1", "", "5070", server1)
	waitFor(t, "registration", func() bool { return len(s.registered("bob")) == 1 })
	old := s.registered("bob")[0]
	waitFor(t, "written identity", func() bool { return instance(filepath.Join(dir, "linphonerc")) != "" })
	first.Process.Kill()
	first.Wait()
	_, out, _ := l.linphone("home2", dir, "5071", server2)
	waitFor(t, "second registration", func() bool { return len(s.registered("bob")) == 2 })
	for _, c := range s.registered("bob") {
		if c.Instance == "" || c.Instance != old.Instance {
			t.Errorf("instance %q, first %q", c.Instance, old.Instance)
		}
	}
	alice := l.baresip("home1", "", "alice", server1, "tcp", "")
	alice.do("dial", "sip:bob@"+domain)
	alice.event("CALL_ESTABLISHED")
	if strings.Contains(s.out.String(), "signalbox -> UDP:"+old.Source+"  INVITE") {
		t.Errorf("the contact it has left, %s, was rung", old.Source)
	}
	alice.do("hangup", "")
	waitFor(t, "end of the call", func() bool {
		return strings.Contains(out.String(), "ended") || strings.Contains(out.String(), "terminated")
	})
	results.passed(t, "Linphone", "linphonec moves behind another NAT: only its newest contact rings", "TestLinphoneMoves", "udp")
}
