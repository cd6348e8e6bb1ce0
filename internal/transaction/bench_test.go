package transaction

import (
	"log/slog"
	"testing"
	"time"

	"signalbox/internal/wire"
)

// relay is a user that hands a call on as a proxy does: the response it gets is the one it sends.
type relay struct {
	tx *Server
	to *nullFlow
	l  *Layer
	c  *Client
}

func (r *relay) ServeResponse(_ *Client, res *wire.Response) { r.tx.Respond(res) }
func (r *relay) ServeFailure(*Client, error)                 {}

// BenchmarkServerOther is the life of a non-INVITE server transaction over UDP: request, response built by Reply, Completed, end. Parsing is not part of it.
func BenchmarkServerOther(b *testing.B) {
	var tx *Server
	l := New(Config{Logger: slog.New(slog.DiscardHandler), Handler: handlerFunc(func(got *Server) error {
		tx = got
		got.Reply(200, "")
		return nil
	})})
	defer l.Close()
	f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
	req := request("MESSAGE")
	b.ReportAllocs()
	for b.Loop() {
		l.ReceiveRequest(f, req)
		tx.machine.terminate() // instead of 32 s
	}
}

// BenchmarkServerOtherBare is the same with a response made before: the layer's own share.
func BenchmarkServerOtherBare(b *testing.B) {
	req := request("MESSAGE")
	res := wire.NewResponse(req, 200, "", "b")
	var tx *Server
	l := New(Config{Logger: slog.New(slog.DiscardHandler), Handler: handlerFunc(func(got *Server) error {
		tx = got
		got.Respond(res)
		return nil
	})})
	defer l.Close()
	f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
	b.ReportAllocs()
	for b.Loop() {
		l.ReceiveRequest(f, req)
		tx.machine.terminate()
	}
}

// BenchmarkINVITEPair is a relayed call over UDP: INVITE server and client transaction on one owner, 100, 180, 200, both Accepted, end.
func BenchmarkINVITEPair(b *testing.B) {
	req := request("INVITE")
	forward := request("INVITE", "z9hG4bKa1", "z9hG4bKb1")
	ringing := reply(&Client{Request: forward}, 180, "b")
	ok := reply(&Client{Request: forward}, 200, "b")
	r := &relay{to: &nullFlow{id: wire.FlowID{Proto: wire.UDP}}}
	r.l = New(Config{Logger: slog.New(slog.DiscardHandler), Handler: handlerFunc(func(tx *Server) error {
		r.tx = tx
		r.c = r.l.Start(tx.Owner(), forward, r.to, r)
		return nil
	})})
	defer r.l.Close()
	f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
	b.ReportAllocs()
	for b.Loop() {
		r.l.ReceiveRequest(f, req)
		r.l.ReceiveResponse(r.to, ringing)
		r.l.ReceiveResponse(r.to, ok)
		r.tx.machine.terminate()
		r.c.machine.terminate()
	}
}

// BenchmarkRetransmission is a request that is answered from what is kept.
func BenchmarkRetransmission(b *testing.B) {
	l := New(Config{Logger: slog.New(slog.DiscardHandler), Handler: handlerFunc(func(tx *Server) error { tx.Reply(200, ""); return nil })})
	defer l.Close()
	f := &nullFlow{id: wire.FlowID{Proto: wire.UDP}}
	req := request("MESSAGE")
	b.ReportAllocs()
	for b.Loop() {
		l.ReceiveRequest(f, req)
	}
}

// BenchmarkRefuse is an INVITE refused for want of time, and the ACK to it: both are parsed, nothing is kept.
func BenchmarkRefuse(b *testing.B) {
	l := New(Config{Handler: handlerFunc(func(*Server) error { b.Error("served"); return nil }), Logger: slog.New(slog.DiscardHandler), Lag: func() time.Duration { return time.Second }})
	defer l.Close()
	l.overload.until.Store(int64(time.Hour))
	f := &lastFlow{}
	invite := wire.Append(nil, large("INVITE", 1))
	l.ReceiveRequest(f, parse(b, string(invite)).(*wire.Request))
	refused := parse(b, string(f.last)).(*wire.Response)
	ack := wire.Append(nil, request("ACK", "bob@example.org>", "bob@example.org>;tag="+refused.To.Tag))
	b.ReportAllocs()
	for b.Loop() {
		for _, raw := range [][]byte{invite, ack} {
			msg, err := wire.Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			l.ReceiveRequest(f, msg.(*wire.Request))
		}
	}
}

// lastFlow keeps what was sent last.
type lastFlow struct {
	nullFlow
	last []byte
}

func (f *lastFlow) Send(b []byte) error { f.last = b; return nil }
