package messages

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media"
	"signalbox/media/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen, and never in vain.
const patience = time.Minute

var alice = wire.AOR{User: "alice", Host: "example.org"}

// rig is a gateway, and the rest of the server behind it as its flows see it.
type rig struct {
	t *testing.T
	*Gateway
	requests  chan received // but REGISTER
	responses chan *wire.Response
	registers chan *wire.Request
	register  func(req *wire.Request) *wire.Response // answers REGISTER
	valid     atomic.Bool
}

type received struct {
	flow transport.Flow
	req  *wire.Request
}

func newRig(t *testing.T) *rig {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0") // the kernel chooses ports that nobody has
	if err != nil {
		t.Fatal(err)
	}
	first := uint16(l.LocalAddr().(*net.UDPAddr).Port) &^ 1
	l.Close()
	engine, err := media.New(media.Config{Ports: udp.Range{First: first, Last: first + 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	g, err := New(Config{Media: engine})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	r := &rig{t: t, Gateway: g, requests: make(chan received, 1000), responses: make(chan *wire.Response, 100), registers: make(chan *wire.Request, 100)}
	r.valid.Store(true)
	r.register = func(req *wire.Request) *wire.Response {
		res := wire.NewResponse(req, 200, "", "r")
		wire.Add(res, "Contact", wire.Get(req, "Contact")+";expires=60")
		return res
	}
	g.Start(r)
	return r
}

func (r *rig) ReceiveRequest(f transport.Flow, req *wire.Request) {
	if req.Method != "REGISTER" {
		r.requests <- received{f, req}
		return
	}
	r.registers <- req
	if res := r.register(req); res != nil {
		_ = f.Send(wire.Append(nil, res))
	}
}

func (r *rig) ReceiveResponse(_ transport.Flow, res *wire.Response) { r.responses <- res }
func (r *rig) ReceiveUnreachable(netip.AddrPort, string, string)    {}
func (r *rig) page(user wire.AOR) Page {
	lo := netip.MustParseAddr("127.0.0.1")
	return Page{User: user, Local: netip.AddrPortFrom(lo, 8443), Remote: netip.AddrPortFrom(lo, 50000), Secure: true, Valid: r.valid.Load}
}

// browser is the other end of the channel.
type browser struct {
	t      *testing.T
	pc     *webrtc.PeerConnection
	dc     *webrtc.DataChannel
	frames chan map[string]any
	closed chan struct{}
}

func newBrowser(t *testing.T, label, protocol string) *browser {
	t.Helper()
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	e.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	e.SetICEMulticastDNSMode(1)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, pc: pc, frames: make(chan map[string]any, 1000), closed: make(chan struct{})}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	if b.dc, err = pc.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol}); err != nil {
		t.Fatal(err)
	}
	b.dc.OnMessage(func(m webrtc.DataChannelMessage) {
		var frame map[string]any
		if err := json.Unmarshal(m.Data, &frame); err != nil || !m.IsString {
			t.Errorf("frame %q", m.Data)
		}
		b.frames <- frame
	})
	b.dc.OnClose(func() { close(b.closed) })
	return b
}

func (b *browser) offer() []byte {
	b.t.Helper()
	d, err := b.pc.CreateOffer(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.pc.SetLocalDescription(d); err != nil {
		b.t.Fatal(err)
	}
	return []byte(d.SDP)
}

// connect opens a session.
func (b *browser) connect(r *rig, user wire.AOR) {
	b.t.Helper()
	answer, err := r.Open(b.t.Context(), r.page(user), b.offer())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		b.t.Fatalf("%v\n%s", err, answer)
	}
}

func (b *browser) send(text string) {
	b.t.Helper()
	if err := b.dc.SendText(text); err != nil {
		b.t.Fatal(err)
	}
}

// connected is a page of alice's that is registered.
func connected(t *testing.T, r *rig) (*browser, *wire.Request) {
	t.Helper()
	b := newBrowser(t, channelName, channelName)
	b.connect(r, alice)
	reg := take(t, "a REGISTER", r.registers)
	if f := take(t, "a frame", b.frames); f["user"] != alice.String() {
		t.Fatalf("%v", f)
	}
	return b, reg
}

// speaking is a page of alice's that has sent a MESSAGE, and its flow; nil if it was taken for gone before, as happens where the machine stands still for longer than a page
// may be silent.
func (r *rig) speaking() (*browser, transport.Flow) {
	r.t.Helper()
	b := newBrowser(r.t, channelName, channelName)
	b.connect(r, alice)
	for r.Len() > 0 {
		select {
		case f := <-b.frames:
			if f["user"] != nil {
				_ = b.dc.SendText(`{"to":"sip:bob@example.org","text":"x","id":"1"}`)
			}
		case m := <-r.requests:
			return b, m.flow
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, nil
}

func take[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s does not come", what)
	}
	panic("unreachable")
}

// empty waits until no session is left.
func (r *rig) empty() {
	r.t.Helper()
	for deadline := time.Now().Add(patience); r.Len() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d sessions are left", r.Len())
		}
	}
}

// request sends what the proxy would.
func (r *rig) request(f transport.Flow, text string) *wire.Response {
	r.t.Helper()
	text = strings.ReplaceAll(strings.TrimLeft(text, "\n"), "\n", "\r\n")
	if err := f.Send([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
	return take(r.t, "a response", r.responses)
}

// crash ends a browser without a word.
func (b *browser) crash() {
	b.t.Helper()
	transport := b.pc.SCTP().Transport().ICETransport()
	if err := transport.Stop(); err != nil { // neither SCTP nor DTLS says goodbye
		b.t.Fatal(err)
	}
}

type dataChannelInit = webrtc.DataChannelInit
