package resolve

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/dns"

	"signalbox/internal/wire"
)

// Config is what New needs.
type Config struct {
	Servers []string     // name servers, host:port; empty: those of /etc/resolv.conf, read again when the file changes
	Protos  []wire.Proto // transports we have listeners for, in order of our preference; hops of others are not offered
	IPv4    bool         // address families we can send from
	IPv6    bool
	Logger  *slog.Logger // nil is silent
	// Exchange asks one server instead of the network: virtual time needs answers that cost none. nil is UDP, and TCP for what is truncated.
	Exchange func(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error)
}

// Resolver answers Resolve. Safe for concurrent use.
type Resolver struct {
	protos     []wire.Proto
	ipv4, ipv6 bool
	dns        *client
	within     time.Duration // lookupTime; a field, so that tests need not be in time
	log        *slog.Logger

	mu      sync.Mutex
	plans   map[question]*plan // what is known
	waiting map[question]*queue
	failed  map[wire.Hop]time.Time
}

// question is what the next hops depend on: the URI's host, port, transport and scheme (RFC 3263, 4).
type question struct {
	host   string
	port   int
	proto  wire.Proto // 0: not named by the URI
	secure bool       // sips
}

// queue holds those who wait for one lookup, in the order they asked.
type queue struct {
	done []func([]wire.Hop, error)
}

// New makes a Resolver.
func New(c Config) *Resolver {
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{
		protos: c.Protos, ipv4: c.IPv4, ipv6: c.IPv6, dns: newClient(c.Servers, c.Exchange), within: lookupTime, log: log,
		plans: map[question]*plan{}, waiting: map[question]*queue{}, failed: map[wire.Hop]time.Time{},
	}
}

// Resolve calls done exactly once: before it returns when the answer is known (numeric host, cached name), later on another goroutine
// otherwise. Calls for one name are answered in the order they were made, so that a lookup never reorders requests. err is a *wire.Error:
// 502 no such host or transport, 504 no name server answered in time, 503 too many lookups.
func (r *Resolver) Resolve(u wire.URI, done func(hops []wire.Hop, err error)) {
	q, err := r.ask(u)
	if err != nil {
		done(nil, err)
		return
	}
	if addr, ok := numeric(q.host); ok {
		done(r.direct(q, addr))
		return
	}
	r.mu.Lock()
	if w := r.waiting[q]; w != nil { // join the queue even if the answer is in: order
		if len(w.done) >= maxWaiting {
			r.mu.Unlock()
			done(nil, wire.Errorf(503, "", "resolve: more than %d requests wait for %s", maxWaiting, q.host))
			return
		}
		w.done = append(w.done, done)
		r.mu.Unlock()
		return
	}
	if p := r.plans[q]; p != nil && time.Now().Before(p.until) {
		hops, err := r.order(p)
		r.mu.Unlock()
		done(hops, err)
		return
	}
	if len(r.waiting) >= maxLookups {
		r.mu.Unlock()
		done(nil, wire.Errorf(503, "", "resolve: %d lookups in flight", maxLookups))
		return
	}
	r.waiting[q] = &queue{done: []func([]wire.Hop, error){done}}
	r.mu.Unlock()
	go r.lookUp(q)
}

// lookUp finds the plan and answers the queue until nobody waits any more.
func (r *Resolver) lookUp(q question) {
	ctx, cancel := context.WithTimeout(context.Background(), r.within)
	defer cancel()
	p := r.plan(ctx, q)
	if p.err != nil {
		r.log.Info("lookup failed", "host", q.host, "err", p.err)
	}
	r.mu.Lock()
	r.keep(q, p)
	for {
		w := r.waiting[q]
		batch := w.done
		w.done = nil
		if len(batch) == 0 {
			delete(r.waiting, q)
			r.mu.Unlock()
			return
		}
		for _, done := range batch {
			hops, err := r.order(p)
			r.mu.Unlock()
			done(hops, err)
			r.mu.Lock()
		}
	}
}

// keep caches a plan; a full cache drops what has expired, else any entry.
func (r *Resolver) keep(q question, p *plan) {
	if len(r.plans) >= maxPlans {
		now, victim := time.Now(), q
		for old, op := range r.plans {
			victim = old
			if now.After(op.until) {
				delete(r.plans, old)
			}
		}
		if len(r.plans) >= maxPlans {
			delete(r.plans, victim)
		}
	}
	r.plans[q] = p
}

// Failed says that a hop timed out, refused or answered 503: it is tried last for a while (RFC 3263, 4.3).
func (r *Resolver) Failed(h wire.Hop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.failed) >= maxFailed {
		for old, until := range r.failed {
			if now.After(until) {
				delete(r.failed, old)
			}
		}
		if len(r.failed) >= maxFailed {
			return
		}
	}
	r.failed[h] = now.Add(avoidFor)
}

// ask reads off the URI what RFC 3263, 4 calls TARGET, the port and the transport.
func (r *Resolver) ask(u wire.URI) (question, error) {
	if !u.IsSIP() {
		return question{}, wire.Errorf(416, "", "resolve: scheme %q", u.Scheme)
	}
	q := question{host: u.Host, port: u.Port, secure: u.Scheme == "sips"}
	if maddr, ok := u.Param("maddr"); ok && maddr != "" { // RFC 3263, 4: TARGET is the maddr parameter if present
		q.host = maddr
	}
	if t, ok := u.Param("transport"); ok {
		p, known := wire.ParseProto(t)
		if !known || (p != wire.UDP && p != wire.TCP && p != wire.TLS) {
			return q, wire.Errorf(502, "Transport Not Supported", "resolve: transport %q", t)
		}
		q.proto = p
	}
	if q.secure {
		if q.proto == wire.UDP { // RFC 3261, 26.2.2: sips needs TLS on every hop
			return q, wire.Errorf(502, "Transport Not Supported", "resolve: sips over UDP")
		}
		if q.proto == wire.TCP {
			q.proto = wire.TLS
		}
	}
	return q, nil
}

func (r *Resolver) supports(p wire.Proto) bool {
	for _, have := range r.protos {
		if have == p {
			return true
		}
	}
	return false
}
