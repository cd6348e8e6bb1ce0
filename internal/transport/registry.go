package transport

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"signalbox/internal/wire"
)

// registry knows all connections and how many there may be.
type registry struct {
	limits Limits

	mu      sync.Mutex
	closed  bool
	serial  uint64
	all     map[uint64]*conn
	dialled map[dialKey]*conn
	sources map[netip.Addr]*source
	young   list.List // accepted connections that have not completed a message, oldest first
}

// dialKey is what an outbound connection is used again for: the same address, and over TLS the same name that was verified (RFC 5922, 7.3). An accepted
// connection is never used this way: its peer has proved nothing about the address it comes from.
type dialKey struct {
	proto wire.Proto
	addr  netip.AddrPort
	name  string
}

// source is one address that connections were accepted from.
type source struct {
	conns int
	young list.List // as above, of this source
}

// newRegistry starts its serials at random, so that a flow of before a restart is not found again.
func newRegistry(l Limits) *registry {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return &registry{
		limits:  l,
		serial:  binary.NativeEndian.Uint64(b[:]) >> 1,
		all:     map[uint64]*conn{},
		dialled: map[dialKey]*conn{},
		sources: map[netip.Addr]*source{},
	}
}

// admit enters an accepted connection. Over a limit the oldest connection that has not completed a message makes room (evicted, to be closed by the caller); if there
// is none, c is refused: ok is false.
func (r *registry) admit(c *conn) (evicted *conn, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false
	}
	addr := network(c.id.Remote.Addr())
	s := r.sources[addr]
	switch {
	case s != nil && s.conns >= r.limits.PerAddress && !c.passedOn:
		evicted, ok = oldest(&s.young)
	case len(r.all) >= r.limits.Connections:
		evicted, ok = oldest(&r.young)
	default:
		ok = true
	}
	if !ok {
		return nil, false
	}
	if evicted != nil {
		r.forget(evicted)
	}
	switch s = r.sources[addr]; {
	case c.passedOn:
		s = &source{} // nobody else's
	case s == nil:
		s = &source{}
		r.sources[addr] = s
	}
	s.conns++
	c.source = s
	c.young = [2]*list.Element{r.young.PushBack(c), s.young.PushBack(c)}
	r.enter(c)
	return evicted, true
}

func oldest(l *list.List) (*conn, bool) {
	e := l.Front()
	if e == nil {
		return nil, false
	}
	return e.Value.(*conn), true
}

// evictOldest takes the oldest connection that has not completed a message out, nil if there is none.
func (r *registry) evictOldest() *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _ := oldest(&r.young)
	if c != nil {
		r.forget(c)
	}
	return c
}

// dial returns the connection for the key, or enters the one that fresh makes.
func (r *registry) dial(k dialKey, fresh func() *conn) (c *conn, isNew bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.dialled[k]; c != nil {
		return c, false, nil
	}
	if r.closed {
		return nil, false, ErrClosed
	}
	if len(r.all) >= r.limits.Connections {
		return nil, false, ErrLimit
	}
	c = fresh()
	c.key = k
	r.dialled[k] = c
	r.enter(c)
	return c, true, nil
}

// dialledTo returns the connection for the key, nil if there is none.
func (r *registry) dialledTo(k dialKey) *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dialled[k]
}

func (r *registry) enter(c *conn) {
	r.serial++
	c.id.Serial = r.serial
	r.all[c.id.Serial] = c
}

// grown is called when a connection has completed its first message: it makes no room for others any more.
func (r *registry) grown(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeYoung(c)
}

func (r *registry) removeYoung(c *conn) {
	if c.young[0] != nil {
		r.young.Remove(c.young[0])
		c.source.young.Remove(c.young[1])
		c.young = [2]*list.Element{}
	}
}

// remove takes a dead connection out.
func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(c)
}

func (r *registry) forget(c *conn) {
	if r.all[c.id.Serial] != c {
		return
	}
	delete(r.all, c.id.Serial)
	if r.dialled[c.key] == c {
		delete(r.dialled, c.key)
	}
	r.removeYoung(c)
	if c.source != nil {
		addr := network(c.id.Remote.Addr())
		if c.source.conns--; c.source.conns == 0 && r.sources[addr] == c.source {
			delete(r.sources, addr)
		}
	}
}

// comesFrom corrects where a connection that was passed on comes from, before it is a flow.
func (r *registry) comesFrom(c *conn, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.id.Remote = netip.AddrPortFrom(addr, c.id.Remote.Port())
}

// find returns the connection with that identity.
func (r *registry) find(id wire.FlowID) *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.all[id.Serial]; c != nil && c.id == id {
		return c
	}
	return nil
}

// close lets connections write what is queued until ctx ends, then closes all.
func (r *registry) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	list := make([]*conn, 0, len(r.all))
	for _, c := range r.all {
		list = append(list, c)
	}
	r.mu.Unlock()

	const look = 10 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for _, c := range list {
		c.bye()
	}
	for _, c := range list {
		for !c.idle() && ctx.Err() == nil {
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		c.leave()
	}
	return ctx.Err()
}
