package transport

import (
	"net/netip"
	"runtime/debug"

	"signalbox/internal/wire"
)

// incoming is where a message came from: a connection, or a UDP listener and its two addresses.
type incoming struct {
	conn          *conn
	udp           *udpListener
	local, remote netip.AddrPort
}

func (in *incoming) proto() wire.Proto {
	if in.conn != nil {
		return in.conn.id.Proto
	}
	return wire.UDP
}

func (in *incoming) id() wire.FlowID {
	if in.conn != nil {
		return in.conn.id
	}
	return wire.FlowID{Proto: wire.UDP, Local: in.local, Remote: in.remote}
}

// flow is where responses to a request with this top Via go; over UDP nil asks for the source itself.
func (in *incoming) flow(v *wire.Via) Flow {
	if in.conn != nil {
		return in.conn
	}
	reply := in.remote
	if v != nil {
		reply = replyTo(v, in.remote)
	}
	return in.udp.flow(in.local, in.remote, reply)
}

// receive parses one whole message and hands it to the receiver. It returns false if a panic came out of it, or nothing could be read of it.
func (t *Transport) receive(in incoming, b []byte) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ok = false
			t.dropped(in.proto(), Panicked)
			t.log.Error("panic while a message was received", "from", in.remote, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	t.traced(true, in.id(), b)
	msg, err := wire.Parse(b)
	if err != nil {
		return t.reject(&in, msg, err)
	}
	switch m := msg.(type) {
	case *wire.Request:
		stampVia(m, in.remote)
		if t.config.Metrics.Received != nil {
			t.config.Metrics.Received(in.proto())
		}
		t.receiver.ReceiveRequest(in.flow(&m.Via), m)
	case *wire.Response:
		f := in.flow(nil)
		if !t.ours(f, &m.Via) {
			t.dropped(in.proto(), ForeignVia)
			return true
		}
		if t.config.Metrics.Received != nil {
			t.config.Metrics.Received(in.proto())
		}
		t.receiver.ReceiveResponse(f, m)
	}
	return true
}

// ours tells whether the top Via of a response is one that we insert into requests on this flow.
// RFC 3261, 18.1.2
func (t *Transport) ours(f Flow, v *wire.Via) bool {
	host, numeric := sentByAddr(v.Host)
	if !numeric {
		return false
	}
	proto, known := wire.ParseProto(v.Transport)
	if !known || proto != f.ID().Proto {
		return false
	}
	port := uint16(v.Port)
	if port == 0 {
		port = proto.Port()
	}
	by := f.SentBy()
	if by.Port() == port && by.Addr() == host {
		return true
	}
	return t.isLocal(host, port)
}
