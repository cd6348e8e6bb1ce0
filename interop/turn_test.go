package interop

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// newTURNServer is a server whose relays may reach loopback, where the peers of the tests are.
func newTURNServer(t *testing.T, users ...string) (s *server, turn, turns string) {
	t.Helper()
	turn, turns = freeAddr(t), freeAddr(t)
	s = newServer(t, fmt.Sprintf("[turn]\nudp = %q\ntcp = %q\ntls = %q\npeers = \"127.0.0.0/8\"\n", turn, turn, turns), users...)
	return s, turn, turns
}

type turnCredentials struct {
	Username, Password string
	TTL                int
	URIs               []string
	ICEServers         []struct {
		URLs                 []string
		Username, Credential string
	}
}

// askTURN asks for credentials over https, with the password: nobody listens there.
func askTURN(t *testing.T, s *server, user, password string) (c turnCredentials, status int) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://"+s.https+"/turn", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.cert)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: domain}}}
	defer client.CloseIdleConnections()
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return c, res.StatusCode
	}
	if err := json.NewDecoder(res.Body).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c, res.StatusCode
}

// coturn's client relays by us: over UDP, TCP and TLS, with credentials from /turn and with those of the SIP account; not one datagram is lost. RFC 8656, 12.5
func TestTURN(t *testing.T) {
	if _, err := exec.LookPath("turnutils_uclient"); err != nil {
		t.Skip("SKIPPED: turnutils_uclient is not installed (Debian package coturn)")
	}
	t.Parallel()
	s, turn, turns := newTURNServer(t, "alice")
	c, status := askTURN(t, s, "alice", password("alice"))
	if status != 200 || c.TTL < 3600 || len(c.URIs) != 3 || len(c.ICEServers) != 1 || c.ICEServers[0].Credential != c.Password || c.ICEServers[0].Username != c.Username {
		t.Fatalf("GET /turn: %d %+v", status, c)
	}
	if _, status := askTURN(t, s, "alice", "wrong"); status != 401 {
		t.Errorf("with a wrong password: %d", status)
	}
	if _, status := askTURN(t, s, "mallory", password("alice")); status != 401 {
		t.Errorf("nobody: %d", status)
	}
	peer := echo(t)
	for _, tt := range []struct {
		over string
		flag []string
		at   string
	}{{"udp", nil, turn}, {"tcp", []string{"-t"}, turn}, {"tls", []string{"-t", "-S"}, turns}} {
		for _, kind := range []string{"time-limited", "account"} {
			t.Run(tt.over+"/"+kind, func(t *testing.T) {
				t.Parallel()
				user, secret := c.Username, c.Password
				if kind == "account" {
					user, secret = "alice", password("alice")
				}
				args := append(tt.flag, "-X", "-c", "-u", user, "-w", secret, "-p", portOf(tt.at), "-e", "127.0.0.1", "-r", portOf(peer), "-m", "2", "-n", "50", "-l", "172", "127.0.0.1")
				out, err := exec.Command("turnutils_uclient", args...).CombinedOutput()
				if err != nil || !regexp.MustCompile(`Total lost packets 0 `).Match(out) || !strings.Contains(string(out), "tot_recv_msgs=100") {
					t.Fatalf("%v\n%s", err, tail(string(out), 3000))
				}
				results.passed(t, "turnutils_uclient (coturn)", "RFC 8656: a relay with "+kind+" credentials, no datagram lost", "TestTURN", tt.over)
			})
		}
	}
}

// Without the operator's word no private network is reached. hardening 60
func TestTURNDenied(t *testing.T) {
	if _, err := exec.LookPath("turnutils_uclient"); err != nil {
		t.Skip("SKIPPED: turnutils_uclient is not installed (Debian package coturn)")
	}
	t.Parallel()
	turn := freeAddr(t)
	newServer(t, fmt.Sprintf("[turn]\nudp = %q\ntcp = \"\"\ntls = \"\"\n", turn), "alice")
	out, _ := exec.Command("timeout", "10", "turnutils_uclient", "-X", "-c", "-u", "alice", "-w", password("alice"), "-p", portOf(turn), "-e", "127.0.0.2", "-r", "9", "-m", "1", "-n", "1", "127.0.0.1").CombinedOutput()
	if !strings.Contains(string(out), "403 (Forbidden)") {
		t.Errorf("%s", tail(string(out), 3000))
	}
}

// echo is a peer that sends everything back.
func echo(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().String()
}

// A page of a foreign origin gets no credentials, and a browser is told so; one that is listed gets them. hardening 73
func TestTURNOrigins(t *testing.T) {
	t.Parallel()
	turn := freeAddr(t)
	s := newServer(t, fmt.Sprintf("[turn]\nudp = %q\ntcp = \"\"\ntls = \"\"\n[web]\norigins = \"https://shop.example.net\"\n", turn), "alice")
	for origin, want := range map[string]int{"": 401, "https://shop.example.net": 401, "https://evil.example.net": 403, "null": 403, "https://" + s.https + ".evil.example.net": 403} {
		for _, path := range []string{"/turn", "/phone/config.json"} {
			r, err := http.NewRequest(http.MethodGet, "http://"+s.http+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			client := http.Client{Timeout: 30 * time.Second}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			client.CloseIdleConnections()
			want := want
			if path != "/turn" && want == 401 {
				want = 200
			}
			if allowed := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != want || allowed != "" && (allowed != origin || want == 403) {
				t.Errorf("%s for %q: %d, allowed %q", path, origin, res.StatusCode, allowed)
			}
		}
	}
}
