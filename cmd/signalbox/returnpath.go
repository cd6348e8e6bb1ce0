package main

import (
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// returnPath is the way of a response whose connection is gone: a new connection to where the request came from and, when nobody listens there, to the
// servers of the name in its Via, one after the other. RFC 3261, 18.2.2; RFC 3263, 5
//
// It is the flow that is being tried. Nothing of it outlives connectWait, but what the transaction keeps to send again.
type returnPath struct {
	c   *core
	via wire.Via

	mu       sync.Mutex
	flow     transport.Flow
	hops     []wire.Hop // not tried yet
	named    bool       // the name was looked up
	response []byte     // the last one, to be sent again
}

// comeBack is the transaction layer's Fallback.
func (c *core) comeBack(top *wire.Via) (transport.Flow, error) {
	hop, ok := transport.Fallback(*top)
	if !ok {
		return nil, transport.ErrClosed
	}
	flow, err := c.network.Dial(hop)
	if err != nil {
		return nil, err
	}
	p := &returnPath{c: c, via: *top, flow: flow}
	p.watch(flow)
	return p, nil
}

// watch waits for the connection to be refused. Once it is open, its end is no news.
func (p *returnPath) watch(flow transport.Flow) {
	stop := flow.OnClose(func(err error) {
		if errors.Is(err, transport.ErrConnect) {
			p.next()
		}
	})
	time.AfterFunc(connectWait, stop)
}

// next tries the hop after the one that was refused. The name in the Via is anybody's word: it leads nobody into our own network.
func (p *returnPath) next() {
	p.mu.Lock()
	if len(p.hops) == 0 {
		look := !p.named
		p.named = true
		p.mu.Unlock()
		if look {
			p.lookUp()
		}
		return
	}
	hop := p.hops[0]
	p.hops = p.hops[1:]
	p.mu.Unlock()
	flow, err := p.c.network.Dial(hop)
	if err != nil {
		p.next()
		return
	}
	p.mu.Lock()
	p.flow = flow
	response := p.response
	p.mu.Unlock()
	if response != nil {
		_ = flow.Send(response) // the watch hears of a failure
	}
	p.watch(flow)
}

// lookUp asks for the name in sent-by: for its addresses if there is a port, else for the servers of the Via's transport. RFC 3263, 5
func (p *returnPath) lookUp() {
	uri, err := wire.ParseURI("sip:" + sentBy(p.via) + ";transport=" + p.via.Transport)
	if _, numeric := uri.Addr(); err != nil || numeric {
		return
	}
	p.c.resolver.Resolve(uri, func(hops []wire.Hop, _ error) {
		p.mu.Lock()
		for _, hop := range hops {
			if len(p.hops) < maxReturnHops && p.c.reachable(hop) {
				p.hops = append(p.hops, hop)
			}
		}
		found := len(p.hops) > 0
		p.mu.Unlock()
		if found {
			p.next()
		}
	})
}

func sentBy(v wire.Via) string {
	if v.Port > 0 {
		return v.Host + ":" + strconv.Itoa(v.Port)
	}
	return v.Host
}

// Send implements transport.Flow.
func (p *returnPath) Send(b []byte) error {
	p.mu.Lock()
	p.response = b
	flow := p.flow
	p.mu.Unlock()
	return flow.Send(b)
}

// current is the flow that is being tried.
func (p *returnPath) current() transport.Flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow
}

func (p *returnPath) ID() wire.FlowID                      { return p.current().ID() }
func (p *returnPath) OnClose(fn func(error)) (stop func()) { return p.current().OnClose(fn) }
func (p *returnPath) SentBy() netip.AddrPort               { return p.current().SentBy() }
