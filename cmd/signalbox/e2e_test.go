package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo"

	"signalbox/internal/console"
)

// process is the real program in a process of its own.
type process struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	ended chan error
}

func program(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"signalbox"}, args...) // see TestMain
	return cmd
}

func startProcess(t *testing.T, dir, listen string) *process {
	t.Helper()
	file := filepath.Join(dir, "signalbox.toml")
	text := "domain = \"example.org\"\n[listen]\n" + listen
	if !strings.Contains(listen, "https =") {
		text += "https = \"\"\n" // tests run side by side
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: dir, cmd: program("serve", "--config", file), ended: make(chan error, 1)}
	p.cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		p.cmd.Stderr = io.Discard
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	p.waitFor("answers", func(console.Status) bool { return true })
	return p
}

// waitFor waits until the server's status is as wanted.
func (p *process) waitFor(what string, ok func(console.Status) bool) console.Status {
	p.t.Helper()
	client := newControlClient(p.dir)
	defer client.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if s, err := client.Status(p.t.Context()); err == nil && ok(s) {
			return s
		}
	}
	p.t.Fatalf("the server never %s", what)
	panic("unreachable")
}

// address is where it listens for a transport.
func (p *process) address(proto string) string {
	p.t.Helper()
	for _, l := range p.waitFor("answers", func(console.Status) bool { return true }).Listening {
		if addr, ok := strings.CutPrefix(l, proto+" "); ok {
			return addr
		}
	}
	p.t.Fatalf("it does not listen on %s", proto)
	panic("unreachable")
}

func (p *process) importUsers(names ...string) {
	p.t.Helper()
	csv := "username,password\n"
	for _, n := range names {
		csv += n + "," + n + "-secret\n"
	}
	cmd := program("user", "import", "-", "--config", filepath.Join(p.dir, "signalbox.toml"))
	cmd.Stdin = strings.NewReader(csv)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("user import: %v\n%s", err, out)
	}
}

// stop sends SIGTERM and returns the exit error.
func (p *process) stop() error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return want(p.t, "the end of the server", p.ended)
}

const everyTransport = "udp = \"127.0.0.1:0\"\ntcp = \"127.0.0.1:0\"\ntls = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n"

// Two phones register with Digest, call each other and exchange messages, over each transport.
func TestPhones(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir, everyTransport)
	p.importUsers("alice", "bob")
	pem, err := os.ReadFile(filepath.Join(dir, "tls", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	listeners := map[string]string{"ws": "http", "wss": "https"}
	for _, transport := range []string{"udp", "tcp", "tls", "ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			secure := &tls.Config{RootCAs: roots}
			addr := p.address(cmp.Or(listeners[transport], transport))
			alice := newPhone(t, "alice", transport, addr, secure)
			bob := newPhone(t, "bob", transport, addr, secure)
			alice.register()
			bob.register()
			p.converse(t, alice, bob)
		})
	}
	// SIGHUP reads the accounts again and disturbs nothing.
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.waitFor("has its users", func(s console.Status) bool { return s.Users == 2 && s.Registrations > 0 })
	if err := p.stop(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// converse has alice send a message and make a call that bob answers and alice ends.
func (p *process) converse(t *testing.T, alice, bob *phone) {
	t.Helper()
	if res := alice.text("sip:bob@example.org", "hello"); res.StatusCode != 200 {
		t.Fatalf("MESSAGE: %s", statusLine(res))
	}
	// A message may be rung through to older registrations of bob's too: this phone must have it.
	if got := want(t, "the message", bob.texts); got != "hello" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, answered := alice.call(ctx, "sip:bob@example.org")
	in := want(t, "the call", bob.ringing)
	establish(t, ctx, out, answered, in)
	if err := out.Bye(ctx); err != nil {
		t.Fatalf("BYE: %v", err)
	}
	want(t, "the BYE", bob.hungUp)
}

// establish has a ringing call answered and the answer acknowledged.
func establish(t *testing.T, ctx context.Context, out *sipgo.DialogClientSession, answered <-chan error, in *sipgo.DialogServerSession) {
	t.Helper()
	confirmed := answer(in)
	if err := want(t, "the answer", answered); err != nil {
		t.Fatalf("INVITE: %v", err)
	}
	if err := out.Ack(ctx); err != nil {
		t.Fatalf("ACK: %v", err)
	}
	if err := want(t, "the ACK", confirmed); err != nil {
		t.Fatalf("200: %v", err)
	}
}

// Whoever was told 200 is registered, whatever happens to the process; and a call that is up stays up.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir, "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n")
	addr := p.address("udp")
	p.importUsers("alice", "bob")
	alice := newPhone(t, "alice", "udp", addr, nil)
	bob := newPhone(t, "bob", "udp", addr, nil)
	alice.register()
	bob.register()

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, answered := alice.call(ctx, "sip:bob@example.org")
	in := want(t, "the call", bob.ringing)
	establish(t, ctx, out, answered, in)

	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	want(t, "the end of the server", p.ended)
	startProcess(t, dir, fmt.Sprintf("udp = %q\ntcp = \"\"\ntls = \"\"\n", addr))

	// No REGISTER: the bindings are those from before.
	if res := alice.text("sip:bob@example.org", "still there?"); res.StatusCode != 200 {
		t.Fatalf("MESSAGE: %s", statusLine(res))
	}
	want(t, "the message", bob.texts)
	// The BYE of the call finds its way by our signed Record-Route value.
	if err := out.Bye(ctx); err != nil {
		t.Errorf("BYE after the restart: %v", err)
	}
	want(t, "the BYE", bob.hungUp)
}

// SIGTERM refuses what is new, and lets what runs end.
func TestDrain(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n")
	addr := p.address("udp")
	p.importUsers("alice", "bob")
	alice := newPhone(t, "alice", "udp", addr, nil)
	bob := newPhone(t, "bob", "udp", addr, nil)
	bob.register()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, answered := alice.call(ctx, "sip:bob@example.org")
	in := want(t, "the call", bob.ringing)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitFor("drains", func(s console.Status) bool { return s.Draining })
	// RFC 3261, 21.5.4: a server that takes no requests for now answers 503 and may say when to come back.
	res := alice.text("sip:bob@example.org", "too late")
	if res.StatusCode != 503 || res.GetHeader("Retry-After") == nil {
		t.Errorf("while draining:\n%s", res)
	}
	establish(t, ctx, out, answered, in)
	if err := want(t, "the end of the server", p.ended); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// Who does not want to wait says so again, until it is heard: what follows the first signal at once is its echo.
func TestSecondSignal(t *testing.T) {
	p := startProcess(t, t.TempDir(), "udp = \"127.0.0.1:0\"\ntcp = \"\"\ntls = \"\"\n")
	p.importUsers("alice", "bob")
	alice := newPhone(t, "alice", "udp", p.address("udp"), nil)
	bob := newPhone(t, "bob", "udp", p.address("udp"), nil)
	bob.register()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	alice.call(ctx, "sip:bob@example.org")
	want(t, "the call", bob.ringing)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitFor("drains", func(s console.Status) bool { return s.Draining })
	for {
		select {
		case err := <-p.ended:
			if err == nil {
				t.Error("it says that all is well")
			}
			return
		case <-time.After(20 * time.Millisecond):
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}
