package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// victim is the running program under attack, built without the race detector, so that its memory is its own.
type victim struct {
	*server
	crowds int // so far
}

var plain = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(program), "signalbox-plain")
	out, err := exec.Command("go", "build", "-o", path, "signalbox/cmd/signalbox").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

// newVictim starts the program. Further keys of its [tls] table come before extra, which is more TOML.
func newVictim(t *testing.T, tls, extra string, users ...string) *victim {
	t.Helper()
	s := prepareVictim(t, tls, extra, users...)
	s.start()
	return s
}

// prepareVictim does all but start it.
func prepareVictim(t *testing.T, tls, extra string, users ...string) *victim {
	t.Helper()
	moreFiles()
	s := prepareServer(t, domain, extra+"[log]\nlevel = \"error\"\n", users...)
	path, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	s.program = path
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.file("signalbox.toml", strings.Replace(string(conf), "ca = \"ca.crt\"\n", "ca = \"ca.crt\"\n"+tls, 1))
	return &victim{server: s}
}

// moreFiles lets this process, and the servers that it starts, open as many files as the system allows.
func moreFiles() {
	for _, n := range []uint64{65536, 20000} {
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}) == nil {
			return
		}
	}
}

// status is what the program says of itself.
type status struct {
	Goroutines, Transactions, Kept int
	Refused, Heap                  uint64
}

func (s *victim) status() (st status) {
	s.t.Helper()
	s.api("/v1/status", &st)
	return st
}

// api asks on the control socket.
func (s *victim) api(path string, into any) {
	s.t.Helper()
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(filepath.Dir(s.database()), "control.sock"))
	}}}
	res, err := client.Get("http://signalbox" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		s.t.Fatal(err)
	}
}

// database is the path of the SQLite file that the configuration names.
func (s *victim) database() string {
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(conf), `database = "sqlite:`)
	path, _, _ := strings.Cut(rest, `"`)
	return filepath.Join(s.dir, path)
}

// rss is the memory the program has, in KB.
func (s *victim) rss() int {
	s.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if v, ok := strings.CutPrefix(in.Text(), "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(v)[0])
			if err != nil {
				s.t.Fatal(err)
			}
			return kb
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}

func (s *victim) files() int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	return len(entries)
}

// settles waits until what the attack has caused is gone.
func (s *victim) settles(what string, ok func() bool) {
	s.t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	st := s.status()
	s.t.Errorf("%s: does not settle: %+v, %d files, %d KB", what, st, s.files(), s.rss())
}

// guests are honest clients: an OPTIONS over UDP, retransmitted as a client does, and one over a new TCP connection, again and again.
type guests struct {
	s              *victim
	stop           chan struct{}
	done           sync.WaitGroup
	asked, ignored atomic.Int64
}

func (s *victim) guests() *guests {
	g := &guests{s: s, stop: make(chan struct{})}
	for _, network := range []string{"udp", "tcp"} {
		g.done.Go(func() {
			for {
				select {
				case <-g.stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				g.asked.Add(1)
				if err := s.served(network); err != nil {
					g.ignored.Add(1)
					s.t.Logf("a guest over %s: %v", network, err)
				}
			}
		})
	}
	return g
}

// leave ends them and holds that all were served.
func (g *guests) leave() {
	g.s.t.Helper()
	close(g.stop)
	g.done.Wait()
	if n := g.ignored.Load(); n > 0 || g.asked.Load() == 0 {
		g.s.t.Errorf("%d of %d guests were not served meanwhile", n, g.asked.Load())
	}
}

var guestNumber atomic.Int64

// served asks once for the server's capabilities. Over UDP the request is sent again at the intervals of RFC 3261, 17.1.2.2.
func (s *victim) served(network string) error {
	conn, err := net.DialTimeout(network, map[string]string{"udp": s.udp, "tcp": s.tcp}[network], 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0) // leaves no port in TIME-WAIT
	}
	req := options(network, conn.LocalAddr().String(), guestNumber.Add(1))
	wait := 500 * time.Millisecond
	for begin := time.Now(); ; wait *= 2 {
		if _, err := conn.Write([]byte(req)); err != nil {
			return err
		}
		if network == "tcp" {
			wait = 10 * time.Second
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		b := make([]byte, 2048)
		n, err := conn.Read(b)
		switch {
		case err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 200 "), err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 503 "):
			return nil // while overloaded, an answer to be asked again later is service too
		case err == nil:
			return fmt.Errorf("got %q", b[:n])
		case network == "tcp" || time.Since(begin) > 16*time.Second:
			return err
		}
	}
}

func options(network, from string, n int64) string {
	return fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bKguest%d\r\nMax-Forwards: 70\r\nFrom: <sip:guest@example.org>;tag=g%d\r\nTo: <sip:%s>\r\nCall-ID: guest%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		domain, strings.ToUpper(network), from, n, n, domain, n)
}

// bounded holds that a figure has grown by at most so much.
func (s *victim) bounded(what string, before, now, growth int) {
	s.t.Helper()
	s.t.Logf("%s: %d before, %d after", what, before, now)
	if now > before+growth {
		s.t.Errorf("%s grew from %d to %d, by more than %d", what, before, now, growth)
	}
}

func replaceOnce(t *testing.T, b []byte, old, new string) []byte {
	t.Helper()
	if strings.Count(string(b), old) != 1 {
		t.Fatalf("%q is not there once", old)
	}
	return []byte(strings.Replace(string(b), old, new, 1))
}
