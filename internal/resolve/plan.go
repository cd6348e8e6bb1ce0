package resolve

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"signalbox/internal/wire"
)

// plan is what the name system says about one question, before the dice of RFC 2782 are thrown.
type plan struct {
	targets []target
	until   time.Time // when the shortest-lived record used expires
	err     error
}

// target is one SRV record, or the host itself, with its addresses.
type target struct {
	rank     int // services in order of NAPTR or of our preference
	priority uint16
	weight   uint16
	hops     []wire.Hop
}

// direct is the plan for a numeric host: the transport is the URI's, else UDP, or TLS for sips (RFC 3263, 4.1).
func (r *Resolver) direct(q question, addr netip.Addr) ([]wire.Hop, error) {
	p := q.defaultProto()
	if !r.supports(p) {
		return nil, wire.Errorf(502, "Transport Not Supported", "resolve: %v to %s", p, addr)
	}
	return []wire.Hop{{Proto: p, Addr: netip.AddrPortFrom(addr, q.portFor(p))}}, nil
}

func (q question) defaultProto() wire.Proto {
	switch {
	case q.proto != 0:
		return q.proto
	case q.secure:
		return wire.TLS
	}
	return wire.UDP
}

func (q question) portFor(p wire.Proto) uint16 {
	return cmp.Or(uint16(q.port), p.Port())
}

func numeric(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// plan asks the name system: RFC 3263, 4.1 (which transport) and 4.2 (which address and port).
func (r *Resolver) plan(ctx context.Context, q question) *plan {
	l := &lookup{r: r, q: q, ttl: maxTTL}
	l.run(ctx)
	p := &plan{targets: l.targets, until: time.Now().Add(max(l.ttl, minTTL))}
	if len(l.targets) == 0 {
		p.err, p.until = l.failure(), time.Now().Add(min(max(l.ttl, minTTL), negativeTTL))
		if l.broken != nil {
			p.until = time.Now().Add(failureTTL)
		}
	}
	return p
}

// service is one way to reach the domain: a transport and the name its SRV records stand under.
type service struct {
	proto wire.Proto
	name  string
	rank  int
}

// lookup gathers the records of one question.
type lookup struct {
	r *Resolver
	q question

	mu      sync.Mutex
	targets []target
	ttl     time.Duration
	broken  error // a server failed or none answered: not the same as "does not exist"
}

func (l *lookup) run(ctx context.Context) {
	if l.q.port != 0 { // an explicit port: addresses only (RFC 3263, 4.2)
		l.hosts(ctx, target{}, l.q.host, l.q.defaultProto(), uint16(l.q.port))
		return
	}
	services := l.services(ctx)
	l.each(len(services), func(i int) { l.srv(ctx, services[i]) })
	if len(l.targets) == 0 && l.broken == nil { // no SRV records: the host's addresses (RFC 3263, 4.2)
		p := l.q.defaultProto()
		l.hosts(ctx, target{}, l.q.host, p, l.q.portFor(p))
	}
}

// services is RFC 3263, 4.1: the URI's transport if it names one, else what NAPTR offers, else SRV for each transport we have.
func (l *lookup) services(ctx context.Context) []service {
	if l.q.proto != 0 {
		return []service{{proto: l.q.proto, name: srvName(l.q.proto, l.q.secure, l.q.host)}}
	}
	if found := l.naptr(ctx); len(found) > 0 {
		return found
	}
	var all []service
	for i, p := range l.r.protos {
		if l.q.secure && p != wire.TLS {
			continue
		}
		all = append(all, service{proto: p, name: srvName(p, l.q.secure, l.q.host), rank: i})
	}
	return all
}

// srvName: "_sips._tcp" is TLS, for sips URIs and for sip URIs with transport=tls alike (RFC 3263, 4.1).
func srvName(p wire.Proto, secure bool, host string) string {
	switch {
	case secure || p == wire.TLS:
		return "_sips._tcp." + host
	case p == wire.TCP:
		return "_sip._tcp." + host
	}
	return "_sip._udp." + host
}

// naptr returns the services that NAPTR records offer and that we support, in their order (RFC 3263, 4.1).
func (l *lookup) naptr(ctx context.Context) []service {
	records, ttl, err := l.r.dns.naptr(ctx, l.q.host)
	l.note(ttl, err)
	slices.SortStableFunc(records, func(a, b naptrRecord) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.preference, b.preference))
	})
	var found []service
	for _, rec := range records {
		p := map[string]wire.Proto{"SIP+D2U": wire.UDP, "SIP+D2T": wire.TCP, "SIPS+D2T": wire.TLS}[strings.ToUpper(rec.service)]
		if p == 0 || !l.r.supports(p) || (l.q.secure && p != wire.TLS) {
			continue
		}
		if found = append(found, service{proto: p, name: rec.replacement, rank: len(found)}); len(found) == maxNAPTR {
			break
		}
	}
	return found
}

func (l *lookup) srv(ctx context.Context, s service) {
	if !l.r.supports(s.proto) {
		return
	}
	records, ttl, err := l.r.dns.srv(ctx, s.name)
	l.note(ttl, err)
	slices.SortStableFunc(records, func(a, b srvRecord) int { return cmp.Compare(a.priority, b.priority) })
	records = records[:min(len(records), maxSRV)]
	l.each(len(records), func(i int) {
		rec := records[i]
		if rec.target == "." || rec.target == "" { // RFC 2782: the service is decidedly not available
			return
		}
		l.hosts(ctx, target{rank: s.rank, priority: rec.priority, weight: rec.weight}, rec.target, s.proto, rec.port)
	})
}

// hosts adds the addresses of host to the targets. A certificate is checked against the URI's domain, never against a name the DNS gave (RFC 5922, 4).
func (l *lookup) hosts(ctx context.Context, t target, host string, p wire.Proto, port uint16) {
	if !l.r.supports(p) {
		return
	}
	var four, six []netip.Addr
	l.each(2, func(i int) {
		if (i == 0 && !l.r.ipv4) || (i == 1 && !l.r.ipv6) {
			return
		}
		addrs, ttl, err := l.r.dns.addrs(ctx, host, i == 1)
		l.note(ttl, err)
		if i == 0 {
			four = addrs
		} else {
			six = addrs
		}
	})
	for _, a := range append(four, six...) {
		if len(t.hops) < maxAddrs {
			t.hops = append(t.hops, wire.Hop{Proto: p, Addr: netip.AddrPortFrom(a.Unmap(), port), Name: l.q.host})
		}
	}
	if len(t.hops) > 0 {
		l.mu.Lock()
		l.targets = append(l.targets, t)
		l.mu.Unlock()
	}
}

// each runs n queries side by side.
func (l *lookup) each(n int, query func(i int)) {
	if n == 1 {
		query(0)
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { query(i) })
	}
	wg.Wait()
}

func (l *lookup) note(ttl time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.broken = err
		return
	}
	l.ttl = min(l.ttl, ttl)
}

func (l *lookup) failure() error {
	if l.broken != nil {
		return wire.Errorf(504, "Name Server Time-out", "resolve %s: %w", l.q.host, l.broken)
	}
	return wire.Errorf(502, "No Such Host", "resolve %s: no usable NAPTR, SRV, A or AAAA record", l.q.host)
}

// order throws the dice of RFC 2782 and puts hops that failed lately last.
func (r *Resolver) order(p *plan) ([]wire.Hop, error) {
	if p.err != nil {
		return nil, p.err
	}
	targets := slices.Clone(p.targets)
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.priority, b.priority))
	})
	for i := range targets {
		same := i + 1
		for same < len(targets) && targets[same].rank == targets[i].rank && targets[same].priority == targets[i].priority {
			same++
		}
		draw(targets[i:same])
	}
	var good, bad []wire.Hop
	now := time.Now()
	for _, t := range targets {
		for _, h := range t.hops {
			if until, failed := r.failed[h]; failed && now.Before(until) {
				bad = append(bad, h)
				continue
			}
			good = append(good, h)
		}
	}
	return append(good, bad...), nil
}

// draw brings one target of equal priority to the front, with a chance by weight (RFC 2782, "Weight").
func draw(equal []target) {
	if len(equal) < 2 {
		return
	}
	sum := 0
	for _, t := range equal {
		sum += int(t.weight)
	}
	pick, at := rand.IntN(sum+1), 0
	slices.SortStableFunc(equal, func(a, b target) int { // weight 0 first: they have a very small chance only
		return cmp.Compare(min(a.weight, 1), min(b.weight, 1))
	})
	for i, t := range equal {
		if at += int(t.weight); at >= pick {
			chosen := equal[i]
			copy(equal[1:i+1], equal[:i])
			equal[0] = chosen
			return
		}
	}
}
