package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// subprotocol is what both sides say in the handshake. RFC 7118, 4.1
const subprotocol = "sip"

// WebListener is a listener of Config.WS or Config.WSS, for a web server to accept from. Its connections count with all others (Limits), and until one
// of them has carried a SIP message it makes room for others when a limit is reached.
type WebListener struct {
	net.Listener // of plain connections: for WSS the web server speaks TLS over them
	Proto        wire.Proto
}

// Web returns the listeners of Config.WS and Config.WSS. Close closes them.
func (t *Transport) Web() []WebListener {
	var list []WebListener
	for _, l := range t.web {
		list = append(list, WebListener{acceptor{l}, l.proto})
	}
	return list
}

// acceptor is a streamListener as a net.Listener.
type acceptor struct{ l *streamListener }

func (a acceptor) Accept() (net.Conn, error) {
	c, err := a.l.next()
	if err != nil {
		return nil, err
	}
	return &webConn{outbox: c.out, c: c}, nil
}

func (a acceptor) Close() error   { return a.l.l.Close() }
func (a acceptor) Addr() net.Addr { return a.l.l.Addr() }

// webConn is a connection in the hands of a web server: writing waits for the peer, as web servers expect, until it has become a flow.
type webConn struct {
	*outbox
	c    *conn
	flow atomic.Bool // it is a flow now
}

func (w *webConn) Write(b []byte) (int, error) {
	if w.flow.Load() {
		return w.outbox.Write(b)
	}
	return w.outbox.Conn.Write(b)
}

func (w *webConn) Close() error {
	if !w.flow.Load() {
		w.c.t.conns.remove(w.c)
	}
	return w.outbox.Conn.Close()
}

// WebSocket is the handler of SIP over WebSocket (RFC 7118), for the path that pages connect to. It works in any web server; on listeners of Web
// a message that is sent costs no goroutine. Of a connection that comes from one of Config.Proxies the request's RemoteAddr says where it
// comes from: the caller knows which header tells. Whom it refuses it answers: 400 without the subprotocol sip, 403 to pages of foreign origins, 426 to
// who does not ask for a WebSocket, 503 when the transport is closed. The handler returns when the connection ends; Close ends it.
func (t *Transport) WebSocket(o Origins) http.Handler {
	return &webSocket{t, o}
}

type webSocket struct {
	t       *Transport
	origins Origins
}

func (h *webSocket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "This is SIP over WebSocket: connect to it with a WebSocket of subprotocol sip.", http.StatusUpgradeRequired)
		return
	}
	if !h.origins.allow(r) {
		h.t.dropped(protoOf(r), ForeignOrigin)
		http.Error(w, "Pages of this origin may not connect: it is not in [web] origins of the server's configuration.", http.StatusForbidden)
		return
	}
	// RFC 7118, 4.1: the client MUST ask for it, the 101 MUST contain it.
	if !offersSIP(r) {
		http.Error(w, "Sec-WebSocket-Protocol must contain sip.", http.StatusBadRequest)
		return
	}
	if !h.t.handlers.enter() {
		http.Error(w, "The server stops.", http.StatusServiceUnavailable)
		return
	}
	defer h.t.handlers.leave()
	up := &upgrade{ResponseWriter: w, t: h.t, r: r}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // origins are checked
		OnPingReceived:     func(context.Context, []byte) bool { return up.carrier.pinged() },
	})
	if err == nil && up.carrier != nil {
		up.carrier.serve(ws)
	}
}

func protoOf(r *http.Request) wire.Proto {
	if r.TLS != nil {
		return wire.WSS
	}
	return wire.WS
}

func offersSIP(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), subprotocol) {
				return true
			}
		}
	}
	return false
}

// upgrade is the response to a handshake; it puts a carrier below the WebSocket.
type upgrade struct {
	http.ResponseWriter
	t       *Transport
	r       *http.Request
	carrier *carrier // nil if the connection was not let in
}

// Hijack takes the connection from the web server.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if u.carrier = u.t.carry(nc, protoOf(u.r)); u.carrier == nil {
		_ = nc.Close()
		return nc, rw, nil
	}
	if c := u.carrier.c; c.passedOn {
		if from, err := netip.ParseAddrPort(u.r.RemoteAddr); err == nil {
			u.t.conns.comesFrom(c, from.Addr().Unmap())
		}
	}
	// The web server may have read the beginning of the first frame already.
	if early, _ := rw.Reader.Peek(rw.Reader.Buffered()); !u.carrier.heads.pass(early) {
		u.carrier.err = errHuge
	}
	// The library writes answers to control frames only: each fits, and goes out in one piece.
	return u.carrier, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(u.carrier, controlFrame)), nil
}

// carry makes a flow of a web server's connection; nil if it is not let in.
func (t *Transport) carry(nc net.Conn, proto wire.Proto) *carrier {
	if w := ownConn(nc); w != nil {
		w.flow.Store(true)
		return &carrier{Conn: nc, c: w.c}
	}
	local, remote := addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())
	c := newConn(t, wire.FlowID{Proto: proto, Local: local, Remote: remote}, t.sentBy(local))
	if c.attach(nc) != nil || !t.admit(c) {
		return nil
	}
	if tc, ok := nc.(*net.TCPConn); ok {
		tune(tc)
	}
	t.embedded.add(local)
	return &carrier{Conn: c.out, c: c}
}

// ownConn is the connection of ours that nc is, or is TLS over.
func ownConn(nc net.Conn) *webConn {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	w, _ := nc.(*webConn)
	return w
}

// addrPort reads an address; a web server in a test may have one that is none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return unmap(t.AddrPort())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// embedded are the addresses of web servers that others made, as they became known: they are ours too.
type embedded struct {
	mu   sync.Mutex
	list atomic.Pointer[[]netip.AddrPort]
}

func (e *embedded) has(a netip.Addr, port uint16) bool {
	list := e.list.Load()
	return list != nil && slices.ContainsFunc(*list, func(l netip.AddrPort) bool { return l.Addr() == a && (port == 0 || l.Port() == port) })
}

func (e *embedded) add(a netip.AddrPort) {
	if a.Port() == 0 || e.has(a.Addr(), a.Port()) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []netip.AddrPort
	if old := e.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	if len(list) == maxEmbedded {
		return
	}
	list = append(list, a)
	e.list.Store(&list)
}

// gate counts the handlers at work, and lets no more in once it is shut.
type gate struct {
	mu      sync.Mutex
	shutNow bool
	inside  sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutNow {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// shut returns when the last handler has left.
func (g *gate) shut() {
	g.mu.Lock()
	g.shutNow = true
	g.mu.Unlock()
	g.inside.Wait()
}
