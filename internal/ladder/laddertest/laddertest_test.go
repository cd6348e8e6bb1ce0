package laddertest

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/ladder"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

var _ = flag.Bool("update", false, "rewrite the server's lines of the ladders")

// toy is just enough of a server to try the harness on: it challenges, forwards by the Request-URI's address without state, and repeats an INVITE once.
type toy struct {
	network *Network
	mu      sync.Mutex
	flows   map[string]transport.Flow // where responses go, by branch
	timers  []*time.Timer
	alive   int
}

func newToy(t *testing.T, env *Env) Server {
	s := &toy{network: env.Network, flows: make(map[string]transport.Flow)}
	return Server{
		Receiver: s,
		Transactions: func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.alive
		},
		Close: func() {
			for _, timer := range s.timers {
				timer.Stop()
			}
		},
	}
}

const toyChallenge = `Digest realm="example.org", nonce="84f1c1ae6cbe5ua9c8e88dfa3ecm3459", qop="auth", algorithm=SHA-256`

func (s *toy) ReceiveRequest(f transport.Flow, req *wire.Request) {
	switch {
	case req.Method == "REGISTER" && wire.Get(req, "Authorization") == "":
		res := wire.NewResponse(req, 401, "", "toy")
		wire.Add(res, "WWW-Authenticate", toyChallenge)
		_ = f.Send(wire.Append(nil, res))
		return
	case req.Method == "REGISTER":
		_ = f.Send(wire.Append(nil, wire.NewResponse(req, 200, "", "toy")))
		return
	}
	addr, _ := req.URI.Addr()
	if addr == (netip.Addr{}) {
		_ = f.Send(wire.Append(nil, wire.NewResponse(req, 404, "", "toy")))
		return
	}
	proto := wire.UDP
	if p, ok := req.URI.Param("transport"); ok && p == "tcp" {
		proto = wire.TCP
	}
	next, err := s.network.Dial(wire.Hop{Proto: proto, Addr: netip.AddrPortFrom(addr, 5060)})
	if err != nil {
		_ = f.Send(wire.Append(nil, wire.NewResponse(req, 500, "", "toy")))
		return
	}
	if req.Method == "INVITE" {
		next.OnClose(func(error) { _ = f.Send(wire.Append(nil, wire.NewResponse(req, 503, "", "toy"))) })
	}
	fwd := req.Clone()
	wire.Push(fwd, "Via", "SIP/2.0/UDP "+next.SentBy().String()+";branch="+req.Via.Branch+"-toy")
	wire.Push(fwd, "Record-Route", "<sip:"+next.SentBy().String()+";lr>")
	b := wire.Append(nil, fwd)
	_ = next.Send(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flows[req.Via.Branch+"-toy"] = f
	if req.Method == "INVITE" {
		s.alive++
		s.timers = append(s.timers, time.AfterFunc(500*time.Millisecond, func() {
			_ = next.Send(b)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.alive--
		}))
	}
}

func (s *toy) ReceiveUnreachable(netip.AddrPort, string, string) {}

func (s *toy) ReceiveResponse(_ transport.Flow, res *wire.Response) {
	s.mu.Lock()
	f := s.flows[res.Via.Branch]
	s.mu.Unlock()
	if f == nil {
		return
	}
	res = res.Clone()
	wire.Pop(res, "Via")
	_ = f.Send(wire.Append(nil, res))
}

func TestLadders(t *testing.T) { Dir(t, "testdata", newToy) }

// playText plays a ladder given as text and returns what happened.
func playText(t *testing.T, text string) (got string, err error) {
	t.Helper()
	script, err := ladder.Parse("test.ladder", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		st, serr := newStage(script)
		if serr != nil {
			err = serr
			return
		}
		var b []byte
		b, err = play(t, st, script, newToy)
		got = string(b)
	})
	return got, err
}

// What happened differs from the ladder in exactly the lines that are wrong.
func TestDifferences(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "call.ladder"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new string }{
		{"time", "  0.500s  proxy", "  0.400s  proxy"},
		{"reason", "180 Ringing\n", "180 Ring\n"},
		{"header", "Max-Forwards: 70", "Max-Forwards: 69"},
		{"absent", "-Route", "-Record-Route"},
		{"missing line", "  2.000s  proxy -> bob             200 OK (BYE)\n", ""},
		{"body", "| hi", "| ho"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The phone's line stays, the server's is spoilt.
			i := strings.LastIndex(string(text), tt.old)
			if i < 0 {
				t.Fatalf("no %q in the ladder", tt.old)
			}
			spoilt := string(text[:i]) + tt.new + string(text[i+len(tt.old):])
			got, err := playText(t, spoilt)
			if err != nil {
				t.Fatal(err)
			}
			if got == spoilt {
				t.Error("the difference was not seen")
			}
		})
	}
}

func TestCannotPlay(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing to answer", "0s bob -> proxy  200 OK\n1s end\n", "no INVITE has come"},
		{"no dialog", "0s bob -> proxy  BYE\n1s end\n", "no such call"},
		{"nothing sent", "0s bob -> proxy  OPTIONS sip:x@y [again]\n1s end\n", "not sent"},
		{"unknown phone", "0s frank -> proxy  OPTIONS sip:x@y\n1s end\n", "who is frank"},
		{"two phones", "0s alice -> bob  OPTIONS sip:x@y\n1s end\n", "must be proxy"},
		{"no address", "phone frank\n0s frank -> proxy  OPTIONS sip:x@y\n1s end\n", "address"},
		{"unknown directive", "telephone frank\n0s end\n", "unknown directive"},
		{"bad domain name server", "dns example.net somewhere\n0s end\n", "somewhere"},
		{"left alive", "0s alice -> proxy  INVITE sip:bob@192.0.2.2\n0.2s end\n", "1 transactions are left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := playText(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"a*", "abc", true}, {"a*c", "abc", true}, {"a*c", "ac", true},
		{"a*c", "acb", false}, {"a*b*c", "a-b-b-c", true}, {"aa*aa", "aaa", false}, {"*x*", "axb", true}, {"*x*", "ab", false},
	} {
		if got := match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("match(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// RFC 7616, 3.9.1: the phones' Digest gives the example's responses.
func TestDigestExample(t *testing.T) {
	for algorithm, want := range map[string]string{
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
	} {
		c := &challenge{
			realm: "http-auth@example.org", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", algorithm: algorithm, qop: true,
			cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
		}
		got := digestParams(c.answer("Mufasa", "Circle of Life", "GET", "/dir/index.html")[len("Digest "):])
		if got["response"] != want || got["nc"] != "00000001" || got["algorithm"] != algorithm {
			t.Errorf("%s: %v", algorithm, got)
		}
	}
}

func TestPhoneTakesTheFirstItUnderstands(t *testing.T) {
	m := readMessage([]byte("SIP/2.0 407 Proxy Authentication Required\r\n" +
		"Proxy-Authenticate: Basic realm=\"a\"\r\n" +
		"Proxy-Authenticate: Digest realm=\"a\", nonce=\"1\", algorithm=SHA-512-256\r\n" +
		"Proxy-Authenticate: Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256, qop=\"auth,auth-int\"\r\n" +
		"Proxy-Authenticate: Digest realm=\"a\", nonce=\"3\"\r\n" +
		"WWW-Authenticate: Digest realm=\"b\", nonce=\"4\"\r\n\r\n"))
	list := readChallenges(m)
	if len(list) != 2 || list[0].nonce != "4" || list[1].nonce != "2" || !list[1].qop || list[1].header != "Proxy-Authorization" {
		t.Errorf("%+v", list)
	}
}
