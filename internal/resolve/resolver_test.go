package resolve

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"signalbox/internal/wire"
)

func resolver(servers ...string) *Resolver {
	return New(Config{Servers: servers, Protos: []wire.Proto{wire.UDP, wire.TCP, wire.TLS}, IPv4: true, IPv6: true})
}

// hopsOf resolves and prints "UDP 192.0.2.1:5060" lines, or the error's code.
func hopsOf(t *testing.T, r *Resolver, uri string) []string {
	t.Helper()
	u, err := wire.ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		hops []wire.Hop
		err  error
	}
	got := make(chan answer, 1)
	r.Resolve(u, func(hops []wire.Hop, err error) { got <- answer{hops, err} })
	a := <-got
	var we *wire.Error
	if errors.As(a.err, &we) {
		return []string{fmt.Sprint(we.Code)}
	}
	var out []string
	for _, h := range a.hops {
		out = append(out, fmt.Sprintf("%v %v", h.Proto, h.Addr))
	}
	return out
}

// RFC 3263, 4.1 and 4.2: which transport, port and address a URI leads to.
// RFC 3263, 4: of host, port, transport and scheme; a maddr stands for the host.
func TestNextHops(t *testing.T) {
	z := newZone(t,
		`naptr.example.org. 60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.naptr.example.org.`,
		`naptr.example.org. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.other.example.org.`,
		`naptr.example.org. 60 IN NAPTR 5 10 "s" "SIP+D2W" "" _ws.example.org.`,
		`_sip._udp.naptr.example.org. 60 IN SRV 1 0 5070 a.example.org.`,
		`_sips._tcp.other.example.org. 60 IN SRV 1 0 5071 b.example.org.`,
		`srv.example.org. 60 IN A 192.0.2.99`,
		`_sip._udp.srv.example.org. 60 IN SRV 2 0 5080 b.example.org.`,
		`_sip._udp.srv.example.org. 60 IN SRV 1 0 5080 a.example.org.`,
		`_sip._tcp.srv.example.org. 60 IN SRV 1 0 5081 a.example.org.`,
		`_sips._tcp.srv.example.org. 60 IN SRV 1 0 5082 a.example.org.`,
		`gone.example.org. 60 IN A 192.0.2.98`,
		`_sip._udp.gone.example.org. 60 IN SRV 0 0 0 .`,
		`a.example.org. 60 IN A 192.0.2.1`,
		`a.example.org. 60 IN AAAA 2001:db8::1`,
		`b.example.org. 60 IN A 192.0.2.2`,
		`alias.example.org. 60 IN CNAME a.example.org.`,
	)
	z.with(func() {
		z.records["alias.example.org A"] = append(z.records["alias.example.org CNAME"], z.records["a.example.org A"]...)
	})
	r := resolver(z.addr)
	for _, c := range []struct {
		why, uri string
		want     []string
	}{
		{"numeric: UDP 5060", "sip:192.0.2.7", []string{"UDP 192.0.2.7:5060"}},
		{"numeric IPv6", "sip:[2001:db8::7]:5099", []string{"UDP [2001:db8::7]:5099"}},
		{"numeric sips: TLS 5061", "sips:192.0.2.7", []string{"TLS 192.0.2.7:5061"}},
		{"numeric with transport", "sip:192.0.2.7;transport=tcp", []string{"TCP 192.0.2.7:5060"}},
		{"maddr is the target", "sip:srv.example.org;maddr=192.0.2.8", []string{"UDP 192.0.2.8:5060"}},
		{"explicit port: no SRV", "sip:srv.example.org:5099", []string{"UDP 192.0.2.99:5099"}},
		{"explicit port, sips", "sips:srv.example.org:5099", []string{"TLS 192.0.2.99:5099"}},
		{"transport: its SRV", "sip:srv.example.org;transport=tcp", []string{"TCP 192.0.2.1:5081", "TCP [2001:db8::1]:5081"}},
		{"transport=tls: _sips._tcp", "sip:srv.example.org;transport=tls", []string{"TLS 192.0.2.1:5082", "TLS [2001:db8::1]:5082"}},
		{"sips: _sips._tcp", "sips:srv.example.org", []string{"TLS 192.0.2.1:5082", "TLS [2001:db8::1]:5082"}},
		{"NAPTR by order, unknown services skipped", "sip:naptr.example.org",
			[]string{"TLS 192.0.2.2:5071", "UDP 192.0.2.1:5070", "UDP [2001:db8::1]:5070"}},
		{"sips: only SIPS+D2T", "sips:naptr.example.org", []string{"TLS 192.0.2.2:5071"}},
		{"no NAPTR: SRV of each transport, by priority", "sip:srv.example.org", []string{
			"UDP 192.0.2.1:5080", "UDP [2001:db8::1]:5080", "UDP 192.0.2.2:5080",
			"TCP 192.0.2.1:5081", "TCP [2001:db8::1]:5081", "TLS 192.0.2.1:5082", "TLS [2001:db8::1]:5082"}},
		{"no SRV: addresses", "sip:b.example.org", []string{"UDP 192.0.2.2:5060"}},
		{"no SRV, CNAME", "sip:alias.example.org", []string{"UDP 192.0.2.1:5060"}},
		{"no such name", "sip:nobody.example.org", []string{"502"}},
		{"unknown transport", "sip:192.0.2.7;transport=sctp", []string{"502"}},
		{"sips over UDP", "sips:192.0.2.7;transport=udp", []string{"502"}},
		{"other scheme", "tel:+15551234", []string{"416"}},
	} {
		if got := hopsOf(t, r, c.uri); !slices.Equal(got, c.want) {
			t.Errorf("%s: %s\n got %v\nwant %v", c.why, c.uri, got, c.want)
		}
	}
}

// RFC 5922, 4: the certificate is checked against the domain of the URI, not against what the DNS said.
func TestNameToVerify(t *testing.T) {
	z := newZone(t, `_sips._tcp.example.org. 60 IN SRV 1 0 5061 pbx.example.net.`, `pbx.example.net. 60 IN A 192.0.2.5`)
	u, _ := wire.ParseURI("sips:bob@example.org")
	got := make(chan []wire.Hop, 1)
	resolver(z.addr).Resolve(u, func(h []wire.Hop, _ error) { got <- h })
	if h := <-got; len(h) != 1 || h[0].Name != "example.org" {
		t.Fatalf("hops %+v", h)
	}
}

// RFC 2782, "Weight": equal priorities share by weight.
func TestWeights(t *testing.T) {
	z := newZone(t,
		`_sip._udp.example.org. 60 IN SRV 1 90 5060 a.example.org.`, `_sip._udp.example.org. 60 IN SRV 1 10 5060 b.example.org.`,
		`a.example.org. 60 IN A 192.0.2.1`, `b.example.org. 60 IN A 192.0.2.2`)
	r, first := resolver(z.addr), map[string]int{}
	for range 1000 {
		h := hopsOf(t, r, "sip:example.org;transport=udp")
		if len(h) != 2 {
			t.Fatalf("both stay next hops: %v", h)
		}
		first[h[0]]++
	}
	if n := first["UDP 192.0.2.1:5060"]; n < 800 || n > 980 {
		t.Errorf("weight 90 of 100 came first in %d of 1000", n)
	}
}

// RFC 3263, 4.3: after a failure the next hop in order is used; ours: the failed one goes last for a while.
func TestFailedHopsGoLast(t *testing.T) {
	z := newZone(t, `two.example.org. 60 IN A 192.0.2.1`, `two.example.org. 60 IN A 192.0.2.2`)
	r := resolver(z.addr)
	before := hopsOf(t, r, "sip:two.example.org:5060")
	if len(before) != 2 {
		t.Fatal(before)
	}
	u, _ := wire.ParseURI("sip:two.example.org:5060")
	r.Resolve(u, func(h []wire.Hop, _ error) { r.Failed(h[0]) }) // would deadlock if done ran under the lock
	after := hopsOf(t, r, "sip:two.example.org:5060")
	if after[0] != before[1] || after[1] != before[0] {
		t.Errorf("before %v after %v", before, after)
	}
}

// Positive answers live by TTL, negative ones by the SOA (RFC 2308, 5): one query each.
func TestCache(t *testing.T) {
	z := newZone(t, `a.example.org. 60 IN A 192.0.2.1`)
	r := resolver(z.addr)
	for range 5 {
		hopsOf(t, r, "sip:a.example.org:5060")
		hopsOf(t, r, "sip:none.example.org:5060")
	}
	if a, n := z.count("a.example.org A"), z.count("none.example.org A"); a != 1 || n != 1 {
		t.Errorf("asked %d times for the name, %d times for the missing one", a, n)
	}
	u, _ := r.ask(mustURI("sip:none.example.org:5060"))
	if left := time.Until(r.plans[u].until); left > 20*time.Second {
		t.Errorf("negative answer kept for %v, the SOA says 20 s", left)
	}
}

func mustURI(s string) wire.URI {
	u, err := wire.ParseURI(s)
	if err != nil {
		panic(err)
	}
	return u
}

// hardening 54: 1,000 SRV records cost no more than 16, and come by TCP because they are truncated on UDP.
func TestManyRecords(t *testing.T) {
	z := newZone(t)
	for i := range 1000 {
		z.set(t, fmt.Sprintf(`_sip._udp.big.example.org. 60 IN SRV %d 0 5060 h%d.example.org.`, i, i), fmt.Sprintf(`h%d.example.org. 60 IN A 192.0.2.%d`, i, i%250+1))
	}
	r := resolver(z.addr)
	r.within, r.dns.udp.Timeout, r.dns.tcp.Timeout = time.Minute, time.Minute, time.Minute // all of them shall be found, however busy the machine
	got := hopsOf(t, r, "sip:big.example.org;transport=udp")
	if len(got) != maxSRV || got[0] != "UDP 192.0.2.1:5060" {
		t.Errorf("%d hops, first %v", len(got), got[:1])
	}
	if n := z.count("_sip._udp.big.example.org SRV"); n != 2 {
		t.Errorf("asked %d times, want once by UDP and once by TCP", n)
	}
}

// hardening 54: names that lead to each other have no address, and that is known at once.
func TestCNAMELoop(t *testing.T) {
	z := newZone(t)
	for _, kind := range []string{"A", "AAAA"} {
		for _, name := range []string{"a", "b"} {
			for _, rr := range []string{`a.example.org. 60 IN CNAME b.example.org.`, `b.example.org. 60 IN CNAME a.example.org.`} {
				record, err := dns.NewRR(rr)
				if err != nil {
					t.Fatal(err)
				}
				key := name + ".example.org " + kind
				z.with(func() { z.records[key] = append(z.records[key], record) })
			}
		}
	}
	r := resolver(z.addr)
	for range 2 {
		if got := hopsOf(t, r, "sip:a.example.org:5060"); !slices.Equal(got, []string{"502"}) {
			t.Errorf("got %v", got)
		}
	}
	if n := z.count("a.example.org A"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// hardening 54: a server that is silent, and one that fails, are passed over; when all fail the answer is 504, soon.
func TestServersFail(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	broken := newZone(t)
	broken.with(func() { broken.rcode = dns.RcodeServerFailure })
	good := newZone(t, `a.example.org. 60 IN A 192.0.2.1`)
	if got := hopsOf(t, resolver(silent.LocalAddr().String(), broken.addr, good.addr), "sip:a.example.org:5060"); !slices.Equal(got, []string{"UDP 192.0.2.1:5060"}) {
		t.Errorf("third server: %v", got)
	}
	if got := hopsOf(t, resolver(broken.addr), "sip:a.example.org:5060"); !slices.Equal(got, []string{"504"}) {
		t.Errorf("only a failing server: %v", got)
	}
	if got := hopsOf(t, resolver(silent.LocalAddr().String()), "sip:a.example.org"); !slices.Equal(got, []string{"504"}) {
		t.Errorf("only a silent server: %v", got)
	}
}

// hardening 54: while one name waits, others are answered; those who wait for it are answered in the order they asked.
func TestWaitersKeepOrderAndBlockNobody(t *testing.T) {
	slow := newZone(t, `slow.example.org. 60 IN A 192.0.2.1`)
	hold := make(chan struct{})
	slow.with(func() { slow.hold = hold })
	r := resolver(slow.addr)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		r.Resolve(mustURI("sip:slow.example.org:5060"), func([]wire.Hop, error) {
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if i == 50 { // one that asks again from its callback goes to the end
				wg.Add(1)
				r.Resolve(mustURI("sip:slow.example.org:5060"), func([]wire.Hop, error) {
					mu.Lock()
					order = append(order, 100)
					mu.Unlock()
					wg.Done()
				})
			}
			wg.Done()
		})
	}
	if got := hopsOf(t, r, "sip:192.0.2.9"); len(got) != 1 { // answered now, on this goroutine
		t.Fatal(got)
	}
	close(hold)
	wg.Wait()
	if !slices.IsSorted(order) || len(order) != 101 {
		t.Errorf("answered in order %v", order)
	}
}

// Every growing thing has a bound: names in flight, waiters of a name, cached names, failed hops.
func TestBounds(t *testing.T) {
	z := newZone(t)
	hold := make(chan struct{})
	z.with(func() { z.hold = hold })
	r := resolver(z.addr)
	var done sync.WaitGroup
	over := make(chan error, 2)
	for i := range maxLookups {
		done.Add(1)
		r.Resolve(mustURI(fmt.Sprintf("sip:n%d.example.org:5060", i)), func([]wire.Hop, error) { done.Done() })
	}
	r.Resolve(mustURI("sip:onemore.example.org:5060"), func(_ []wire.Hop, err error) { over <- err })
	for range maxWaiting - 1 {
		done.Add(1)
		r.Resolve(mustURI("sip:n0.example.org:5060"), func([]wire.Hop, error) { done.Done() })
	}
	r.Resolve(mustURI("sip:n0.example.org:5060"), func(_ []wire.Hop, err error) { over <- err })
	for range 2 {
		if err := <-over; err == nil || !strings.HasPrefix(err.Error(), "503") {
			t.Errorf("beyond the bound: %v", err)
		}
	}
	close(hold)
	done.Wait()
	r.mu.Lock()
	for i := range maxPlans + 10 {
		r.keep(question{host: fmt.Sprint(i)}, &plan{until: time.Now().Add(time.Hour)})
	}
	if len(r.plans) > maxPlans {
		t.Errorf("%d plans", len(r.plans))
	}
	r.mu.Unlock()
	for i := range maxFailed + 10 {
		r.Failed(wire.Hop{Name: fmt.Sprint(i)})
	}
	if len(r.failed) > maxFailed {
		t.Errorf("%d failed hops", len(r.failed))
	}
}

func BenchmarkResolveCached(b *testing.B) {
	r := resolver("127.0.0.1:1")
	u := mustURI("sip:192.0.2.7:5060")
	b.ReportAllocs()
	for b.Loop() {
		r.Resolve(u, func([]wire.Hop, error) {})
	}
}
