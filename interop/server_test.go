package interop

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const domain = "sip.test"

var program string // the program, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "signalbox-interop")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "signalbox")
	if out, err := exec.Command("go", "build", "-race", "-o", program, "signalbox/cmd/signalbox").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	chromium.close()
	if err := results.check(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is the running program.
type server struct {
	t             *testing.T
	program       string   // "" is the one with the race detector
	env           []string // more of its environment
	dir, conf     string
	dev           bool   // as `signalbox dev` runs it, in dir
	udp, tcp, tls string // host:port
	https, http   string
	ca            *authority
	cmd           *exec.Cmd
	out           *output
}

// newServer writes configuration and users and starts the program on free ports. extra is more TOML.
func newServer(t *testing.T, extra string, users ...string) *server {
	t.Helper()
	return newServerFor(t, domain, extra, users...)
}

// newServerFor is newServer for a domain.
func newServerFor(t *testing.T, domain, extra string, users ...string) *server {
	t.Helper()
	s := prepareServer(t, domain, extra, users...)
	s.start()
	return s
}

// prepareServer does all but start it.
func prepareServer(t *testing.T, domain, extra string, users ...string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, dir: dir, conf: filepath.Join(dir, "signalbox.toml"), ca: newAuthority(t, dir)}
	s.udp, s.tcp, s.tls = freeAddr(t), freeAddr(t), freeAddr(t)
	s.https, s.http = freeAddr(t), freeAddr(t)
	s.ca.write(t, filepath.Join(dir, "server"))
	s.file("signalbox.toml", fmt.Sprintf(`domain = %q
[listen]
udp = %q
tcp = %q
tls = %q
https = %q
http = %q
[tls]
cert = "server.crt"
key = "server.key"
ca = "ca.crt"
[store]
database = "sqlite:data/signalbox.db"
%s`, domain, s.udp, s.tcp, s.tls, s.https, s.http, extra))
	s.importUsers(domain, users...)
	return s
}

// importUsers makes accounts while the program does not run.
func (s *server) importUsers(domain string, users ...string) {
	s.t.Helper()
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	w.Write([]string{"username", "domain", "password"})
	for _, u := range users {
		w.Write([]string{u, domain, password(u)})
	}
	w.Flush()
	if out, err := exec.Command(program, "user", "import", s.file("users.csv", text.String()), "--config", s.conf).CombinedOutput(); err != nil {
		s.t.Fatalf("user import: %v\n%s", err, out)
	}
}

func password(user string) string { return "secret-of-" + user }

func (s *server) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *server) start() {
	s.t.Helper()
	s.t.Cleanup(s.stop)
	s.run()
	for range 1000 { // ready when it serves its pages: that begins last
		if res, err := http.Get("http://" + s.http + "/"); err == nil {
			res.Body.Close()
			return
		}
		if strings.Contains(s.out.String(), "address already in use") { // by something that lives shorter than a test: it has ended, and tries again
			_ = s.cmd.Wait()
			s.run()
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("the server does not start:\n%s", s.out)
}

func (s *server) run() {
	s.t.Helper()
	s.out = &output{}
	s.cmd = exec.Command(cmp.Or(s.program, program), "serve", "--config", s.conf)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = s.out, s.out, append(os.Environ(), s.env...)
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.t.Fatal(err)
	}
}

// kill ends the program as a power cut does.
func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// stop drains it and holds it to a clean end: no race, no panic, exit status 0.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	err := s.cmd.Wait()
	s.cmd = nil
	if err != nil {
		s.t.Errorf("the server ended with %v", err)
	}
	text := s.out.String()
	for _, bad := range []string{"DATA RACE", "panic"} {
		if strings.Contains(text, bad) {
			s.t.Errorf("the server's output has %q", bad)
		}
	}
	if s.t.Failed() {
		if len(text) > 20000 {
			text = text[len(text)-20000:]
		}
		s.t.Logf("server output:\n%s", text)
	}
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// ports are those that are given to tests, each once in a run, from a place that differs between runs, far from that of a run at the same time. Above are those of media: the program's ([media] rtp), then those of
// softphones, then those that the system takes for outgoing connections.
var (
	nextPort    = newCounter(10_000, 20_000, 2)
	nextRTPPort = newCounter(24_000, 32_000, rtpRange)
)

// rtpRange is how many ports a softphone's calls have.
const rtpRange = 40

// counter goes round in a range.
type counter struct {
	first, last, step int32
	n                 atomic.Int32
}

func newCounter(first, last, step int32) *counter {
	c := &counter{first: first, last: last, step: step}
	part := (last - first) / step / runsAtOnce
	c.n.Store(thisRun()*part + int32(os.Getpid())%(part/2))
	return c
}

// runsAtOnce are as many as have ports of their own.
const runsAtOnce = 8

// thisRun is which of the runs at this time we are: the first that has not got a lock held by another one, until it ends.
var thisRun = sync.OnceValue(func() int32 {
	for n := range int32(runsAtOnce) {
		fd, err := unix.Open(filepath.Join(os.TempDir(), fmt.Sprintf("signalbox-interop-%d.lock", n)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			continue
		}
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
			return n
		}
		unix.Close(fd)
	}
	return int32(os.Getpid()) % runsAtOnce
})

func (c *counter) next() int { return int(c.first + c.n.Add(1)%((c.last-c.first)/c.step)*c.step) }

// freeAddr is an address on loopback whose port is free for UDP and TCP. Nobody else in this run is given it, or the next one.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", nextPort.next())
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			u.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// authority signs the certificates of a test: the server's and those of the phones that speak TLS.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "ca.crt"), "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// write makes a certificate for the domain and for 127.0.0.1: base.crt and base.key.
func (a *authority) write(t *testing.T, base string) {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: domain}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{domain, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, base+".crt", "CERTIFICATE", der)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, base+".key", "PRIVATE KEY", pkcs8)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tunnel carries TCP connections over TLS, for phones that speak no TLS (Debian's SIPp): towards the server, or, as a listener the server dials, from it.
func (s *server) tunnel(to string, towardsServer bool) string {
	s.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	base := filepath.Join(s.dir, "phone")
	s.ca.write(s.t, base)
	pair, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	if err != nil {
		s.t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { plain.Close() })
	listener, dial := plain, func() (net.Conn, error) {
		return tls.Dial("tcp", to, &tls.Config{RootCAs: pool, ServerName: domain})
	}
	if !towardsServer {
		listener = tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}})
		dial = func() (net.Conn, error) { return net.Dial("tcp", to) }
	}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := dial()
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, in); out.Close() }()
				io.Copy(in, out)
			}()
		}
	}()
	return plain.Addr().String()
}
