package resolve

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// zone is an authoritative name server on loopback, UDP and TCP on one port, that counts what it is asked.
type zone struct {
	addr string

	mu      sync.Mutex
	records map[string][]dns.RR // by name and type
	asked   map[string]int
	rcode   int
	hold    chan struct{} // when set, answers wait until it is closed
}

func newZone(t *testing.T, lines ...string) *zone {
	t.Helper()
	z := &zone{records: map[string][]dns.RR{}, asked: map[string]int{}}
	z.set(t, lines...)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.addr = tcp.Addr().String()
	udp, err := net.ListenPacket("udp", z.addr)
	if err != nil {
		t.Skipf("UDP port of %s is taken: %v", z.addr, err)
	}
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: z}, {Listener: tcp, Handler: z}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return z
}

func (z *zone) set(t *testing.T, lines ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		key := zoneKey(rr.Header().Name, rr.Header().Rrtype)
		z.records[key] = append(z.records[key], rr)
	}
}

// with changes how the running server answers.
func (z *zone) with(change func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	change()
}

func zoneKey(name string, kind uint16) string {
	return strings.TrimSuffix(strings.ToLower(name), ".") + " " + dns.TypeToString[kind]
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	key := zoneKey(q.Question[0].Name, q.Question[0].Qtype)
	z.mu.Lock()
	z.asked[key]++
	rrs, rcode, hold := z.records[key], z.rcode, z.hold
	z.mu.Unlock()
	if hold != nil {
		<-hold
	}
	m := new(dns.Msg).SetReply(q)
	m.Rcode, m.Answer = rcode, rrs
	if len(rrs) == 0 {
		soa, _ := dns.NewRR("example.org. 60 IN SOA ns.example.org. root.example.org. 1 1 1 1 20")
		m.Ns = []dns.RR{soa}
	}
	if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		m.Truncate(1232)
	}
	w.WriteMsg(m)
}

func (z *zone) count(key string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[key]
}
