package relay

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// RFC 7983; RFC 5761, 4
func TestClassify(t *testing.T) {
	pad := func(b ...byte) []byte { return append(b, make([]byte, 20)...) }
	for _, tt := range []struct {
		name string
		b    []byte
		want Kind
	}{
		{"STUN", pad(0, 1), STUN}, {"DTLS", pad(22, 254), DTLS}, {"TURN channel", pad(0x40, 0), Unknown}, {"RTP", pad(0x80, 0), RTP},
		{"marked RTP", pad(0x80, 0x80|111), RTP}, {"SR", pad(0x80, 200), RTCP}, {"PSFB", pad(0x81, 206), RTCP}, {"version 1", pad(0x40|1, 0), Unknown},
		{"short", []byte{0x80, 0, 0}, Unknown}, {"empty", nil, Unknown}, {"RTP of 8 bytes", []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, Unknown},
	} {
		if got := Classify(tt.b); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// RFC 3550, 5.1 and 5.3.1: what stands before the payload is dropped, the payload is not touched (media.md, trap 3).
func TestRewrite(t *testing.T) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, PayloadType: 111, SequenceNumber: 7, Timestamp: 9, SSRC: 5, CSRC: []uint32{1, 2}}, Payload: []byte("voice")}
	if err := p.SetExtension(1, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	h, ok := Parse(b)
	if !ok || !h.Marker || h.PT != 111 || h.Seq != 7 || h.TS != 9 || h.SSRC != 5 {
		t.Fatalf("%+v %v", h, ok)
	}
	h.PT, h.Seq, h.TS, h.SSRC = 0, 1000, 2000, 3000
	var got rtp.Packet
	if err := got.Unmarshal(Rewrite(b, h)); err != nil {
		t.Fatal(err)
	}
	if got.Extension || len(got.CSRC) != 0 || string(got.Payload) != "voice" || got.PayloadType != 0 || got.SequenceNumber != 1000 || got.Timestamp != 2000 || got.SSRC != 3000 || !got.Marker {
		t.Errorf("%+v", got)
	}
}

// RFC 3550, 5.1, 8.2 and A.1: whatever the sources do, one SSRC leaves, whose sequence numbers go on (media.md, trap 1).
func TestRenumber(t *testing.T) {
	type in struct {
		leg  uint32
		ssrc uint32
		seq  uint16
		ts   uint32
		at   time.Duration
	}
	ms := time.Millisecond
	for _, tt := range []struct {
		name string
		in   []in
		seqs []uint16
		ts   []uint32
	}{
		{"one source passes", []in{{1, 5, 100, 1000, 0}, {1, 5, 101, 1160, 20 * ms}}, []uint16{100, 101}, []uint32{1000, 1160}},
		{"order and loss stay", []in{{1, 5, 10, 0, 0}, {1, 5, 12, 320, 0}, {1, 5, 11, 160, 0}}, []uint16{10, 12, 11}, []uint32{0, 320, 160}},
		{"wrap", []in{{1, 5, 65535, 0, 0}, {1, 5, 0, 160, 0}}, []uint16{65535, 0}, []uint32{0, 160}},
		{"another SSRC", []in{{1, 5, 100, 1000, 0}, {1, 6, 9000, 77, 100 * ms}}, []uint16{100, 101}, []uint32{1000, 1800}},
		{"another leg with the same SSRC", []in{{1, 5, 100, 1000, 0}, {2, 5, 100, 1000, 20 * ms}}, []uint16{100, 101}, []uint32{1000, 1160}},
		{"a phone begins anew", []in{{1, 5, 6000, 1000, 0}, {1, 5, 1, 0, 20 * ms}}, []uint16{6000, 6001}, []uint32{1000, 1160}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Renumber{SSRC: 99}
			for i, p := range tt.in {
				h := Header{SSRC: p.ssrc, Seq: p.seq, TS: p.ts}
				r.Map(&h, p.leg, 8000, p.at)
				if h.SSRC != 99 || h.Seq != tt.seqs[i] || h.TS != tt.ts[i] {
					t.Errorf("packet %d: %+v, want %d at %d", i, h, tt.seqs[i], tt.ts[i])
				}
			}
		})
	}
}

// RFC 4733, 2.3: the duration counts in the clock of the stream.
func TestScaleEvent(t *testing.T) {
	b := []byte{5, 10, 0x1e, 0}
	ScaleEvent(b, 48000, 8000)
	if d := binary.BigEndian.Uint16(b[2:]); d != 0x1e00/6 {
		t.Errorf("%d", d)
	}
	ScaleEvent(b[:3], 8000, 48000) // too short: untouched
}

var (
	promised  = netip.MustParseAddrPort("192.0.2.9:4000")
	moved     = netip.MustParseAddrPort("192.0.2.9:5000")
	stranger  = netip.MustParseAddrPort("198.51.100.1:4000")
	signalled = netip.MustParseAddr("192.0.2.9")
)

// RFC 7362, 4 and hardening 64: RTP bleed. Nobody but the phone is believed, and it only for a while.
func TestLatch(t *testing.T) {
	type p struct {
		from netip.AddrPort
		ssrc uint32
		seq  uint16
		at   time.Duration
		ok   bool
	}
	ms := time.Millisecond
	run := func(from netip.AddrPort, at time.Duration, oks ...bool) (list []p) {
		for i, ok := range oks {
			list = append(list, p{from, 5, uint16(i), at, ok})
		}
		return list
	}
	for _, tt := range []struct {
		name    string
		packets []p
		locked  netip.AddrPort
	}{
		{"the promised address, at once", run(promised, 0, true, true), promised},
		{"a stranger never", run(stranger, time.Second, false, false, false, false, false, false), netip.AddrPort{}},
		{"another port of the phone: four in a row, and the fourth counts", run(moved, time.Second, false, false, false, true, true), moved},
		{"not in the first moment", run(moved, 100*ms, false, false, false, false, false), netip.AddrPort{}},
		{"not after the learning time", run(moved, 6*time.Second, false, false, false, false, false), netip.AddrPort{}},
		{"a spray does not follow on", []p{{moved, 1, 1, time.Second, false}, {moved, 2, 9, time.Second, false}, {moved, 1, 2, time.Second, false}, {moved, 3, 3, time.Second, false}, {moved, 1, 3, time.Second, false}}, netip.AddrPort{}},
		{"the promised address takes it back", append(run(moved, time.Second, false, false, false, true), run(promised, 2*time.Second, true)...), promised},
		{"and then it stays", append(run(promised, 0, true), run(moved, time.Second, false, false, false, false, false)...), promised},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l Latch
			l.Expect(promised, signalled, 0)
			for i, p := range tt.packets {
				if ok, _ := l.Accept(p.from, p.ssrc, p.seq, p.at); ok != p.ok {
					t.Errorf("packet %d: %v", i, ok)
				}
			}
			if l.Locked() != tt.locked {
				t.Errorf("locked to %v, want %v", l.Locked(), tt.locked)
			}
		})
	}
	near := Latch{}
	lan := netip.MustParseAddrPort("10.0.0.9:4000")
	near.Expect(lan, lan.Addr(), 0)
	for seq := range uint16(5) {
		near.Accept(netip.MustParseAddrPort("10.0.0.9:5000"), 5, seq, time.Second)
	}
	if !near.Locked().IsValid() || near.Target() != lan {
		t.Errorf("a phone without NAT that sends from another port: locked to %v, sent to at %v", near.Locked(), near.Target())
	}
	var l Latch
	if ok, _ := l.Accept(promised, 1, 1, 0); ok {
		t.Error("before any answer a packet is believed")
	}
}

// A description does not lead us where its author is not.
func TestReachable(t *testing.T) {
	for _, tt := range []struct {
		to, from string
		want     bool
	}{
		{"203.0.113.5", "198.51.100.7", true}, {"127.0.0.1", "198.51.100.7", false}, {"127.0.0.1", "127.0.0.1", true}, {"10.0.0.1", "198.51.100.7", false},
		{"10.0.0.1", "192.168.1.5", true}, {"169.254.169.254", "198.51.100.7", false}, {"0.0.0.0", "198.51.100.7", false}, {"224.0.0.1", "198.51.100.7", false},
		{"100.64.0.1", "198.51.100.7", false}, {"::1", "2001:db8::1", false}, {"fd00::1", "2001:db8::1", false}, {"2001:db8::2", "2001:db8::1", true},
	} {
		if got := Reachable(netip.MustParseAddr(tt.to), netip.MustParseAddr(tt.from)); got != tt.want {
			t.Errorf("%s for a phone at %s: %v", tt.to, tt.from, got)
		}
	}
	var l Latch
	l.Expect(netip.MustParseAddrPort("10.0.0.9:4000"), netip.MustParseAddr("198.51.100.7"), 0)
	if l.Target().IsValid() {
		t.Errorf("a phone behind NAT is sent to %v before it is found", l.Target())
	}
}

// RFC 3550, 4, 6.4 and 6.4.1: our reports, as pion/rtcp reads them: first a report, then who we are (RFC 3550, 6.1, 6.5 and 6.5.1), at last the BYE (RFC 3550, 6.6 and 12.1). Packets that did not come
// are counted over a wrap (RFC 3550, A.3). RFC 4585, 6.1 and 6.3: pictures are asked for. What is no RTCP is not heard (RFC 3550, A.2).
func TestReports(t *testing.T) {
	var r Received
	for i, seq := range []uint16{65534, 65535, 0, 2} { // one lost, one wrap
		r.Count(&Header{SSRC: 5, Seq: seq, TS: uint32(i) * 160}, 160, 8000, time.Duration(i)*20*time.Millisecond)
	}
	if v := r.Volume(); v != (Volume{4, 640, 1}) {
		t.Errorf("%+v", v)
	}
	r.Heard(0xabcd1234, 100*time.Millisecond)
	block := r.Report(600 * time.Millisecond)
	sent := Sent{Packets: 3, Octets: 480, TS: 320, At: 500 * time.Millisecond}
	b := NewOrigin().AppendReport(nil, 99, &sent, 8000, &block, "signalbox", 600*time.Millisecond)
	b = AppendFIR(AppendPLI(b, 99, 5), 99, 5, 7)
	b = AppendBye(b, 99)
	list, err := rtcp.Unmarshal(b)
	if err != nil || len(list) != 5 {
		t.Fatalf("%v, %v", list, err)
	}
	sr := list[0].(*rtcp.SenderReport)
	if sr.SSRC != 99 || sr.PacketCount != 3 || sr.OctetCount != 480 || sr.RTPTime != 320+800 || len(sr.Reports) != 1 {
		t.Errorf("%+v", sr)
	}
	if rr := sr.Reports[0]; rr.SSRC != 5 || rr.TotalLost != 1 || rr.FractionLost != 51 || rr.LastSequenceNumber != 1<<16+2 || rr.LastSenderReport != 0xabcd1234 || rr.Delay != 32768 {
		t.Errorf("%+v", rr)
	}
	if c := list[1].(*rtcp.SourceDescription); c.Chunks[0].Items[0].Text != "signalbox" {
		t.Errorf("%+v", c)
	}
	if pli := list[2].(*rtcp.PictureLossIndication); pli.MediaSSRC != 5 {
		t.Errorf("%+v", pli)
	}
	if fir := list[3].(*rtcp.FullIntraRequest); fir.FIR[0].SSRC != 5 || fir.FIR[0].SequenceNumber != 7 {
		t.Errorf("%+v", fir)
	}
	c := ParseControl(b)
	if !c.Valid || !c.SR || c.SSRC != 99 || !c.Keyframe {
		t.Errorf("%+v", c)
	}
	r.Count(&Header{SSRC: 6, Seq: 1}, 10, 8000, time.Second) // another source: what was is not forgotten
	if v := r.Volume(); v != (Volume{5, 650, 1}) {
		t.Errorf("%+v", v)
	}
	if c := ParseControl(append(bytes.Clone(b), 1, 2, 3)); c.Valid {
		t.Error("rubbish at the end passes")
	}
	empty := NewOrigin().AppendReport(nil, 99, &Sent{}, 8000, nil, "signalbox", 0)
	if list, err := rtcp.Unmarshal(empty); err != nil || list[0].(*rtcp.ReceiverReport).SSRC != 99 {
		t.Errorf("%v %v", list, err)
	}
}

// RFC 3550, A.8: half of the packets come 10 ms late. The sixteenth part of each difference is added, and of what was.
func TestJitter(t *testing.T) {
	var r Received
	want := 0.0
	for i := range 50 {
		late := time.Duration(i%2) * 10 * time.Millisecond
		r.Count(&Header{SSRC: 5, Seq: uint16(i), TS: uint32(i) * 160}, 160, 8000, time.Duration(i)*20*time.Millisecond+late)
		if i > 0 {
			want += (80 - want) / 16
		}
	}
	if got := r.Report(time.Second).Jitter; math.Abs(float64(got)-want) > 1 {
		t.Errorf("%d, want %.1f", got, want)
	}
	r.Count(&Header{SSRC: 5, Seq: 50, TS: 3 << 30}, 160, 8000, time.Second) // timestamps that jump are no jitter
	if got := r.Report(time.Second).Jitter; math.Abs(float64(got)-want) > 1 {
		t.Errorf("after a jump: %d, want %.1f", got, want)
	}
}

// Whatever comes on a port, nothing panics, and what we call RTP or RTCP is what pion calls so.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3})
	f.Add([]byte{0x91, 0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 9})
	f.Add(AppendFIR(AppendPLI(NewOrigin().AppendReport(nil, 1, &Sent{Packets: 1}, 8000, nil, "x", 0), 1, 2), 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		switch Classify(b) {
		case RTP:
			h, ok := Parse(b)
			var p rtp.Header
			n, err := p.Unmarshal(b)
			if err == nil && (!ok || h.Payload != n || h.SSRC != p.SSRC) {
				t.Fatalf("%+v %v, pion %+v", h, ok, p)
			}
			if ok {
				ScaleEvent(b[h.Payload:], 48000, 8000)
				if got := Rewrite(b, h); len(got) != len(b)-h.Payload+HeaderSize {
					t.Fatalf("%d bytes", len(got))
				}
				var r Received
				r.Count(&h, 160, 8000, 0)
				r.Report(0)
			}
		case RTCP:
			ParseControl(b)
		}
	})
}
