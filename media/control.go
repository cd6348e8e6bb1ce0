package media

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"signalbox/media/relay"
	"signalbox/media/udp"
)

// RTCP ends at each leg (RFC 3550, 7.2 calls this a translator that speaks for itself): what a peer hears of is our stream, and what it asks for we ask
// the other side for in its own way.

// receiveRTCP takes RTCP of a phone.
func (s *stream) receiveRTCP(b []byte, from netip.AddrPort) {
	to := s.to.Load()
	if to == nil || from.Addr() != to.Name().Addr() {
		return
	}
	c := s.decipher.Load()
	switch {
	case c != nil:
		plain, ok := c.openControl(b)
		if !ok {
			return
		}
		b = plain
	case s.mandated.Load():
		return
	}
	if s.controlled(b) && s.controlPort.Load() == 0 && from != to.Name() {
		if at := s.toRTCP.Load(); at == nil || at.Name() != from {
			s.toRTCP.Store(s.rtcp.Addr(from)) // behind NAT the next port may be another one
		}
	}
}

// controlled acts on a compound packet of the peer.
func (s *stream) controlled(b []byte) bool {
	c := relay.ParseControl(b)
	if !c.Valid {
		return false
	}
	now := s.leg.e.now()
	s.heard.Store(int64(now))
	if c.SR && s.reading.CompareAndSwap(false, true) {
		if c.SSRC == s.received.SSRC {
			s.received.Heard(c.Middle, now)
		}
		s.reading.Store(false)
	}
	if source := s.source.Load(); c.Keyframe && source != nil {
		source.ask(now)
	}
	return true
}

// ask asks the peer of this stream for a new picture, in the way it understands: none, if it understands none.
func (s *stream) ask(now time.Duration) {
	last := s.asked.Load()
	if s.kind != "video" || int64(now)-last < int64(keyframeEvery) && last != 0 || !s.asked.CompareAndSwap(last, int64(now)) {
		return
	}
	if !s.reading.CompareAndSwap(false, true) {
		return
	}
	media := s.received.SSRC
	s.reading.Store(false)
	if media == 0 {
		return
	}
	var room [256]byte
	b := s.leg.e.origin.AppendReport(room[:0], s.renumber.SSRC, &relay.Sent{}, 0, nil, cname, now)
	switch {
	case s.canPLI.Load():
		b = relay.AppendPLI(b, s.renumber.SSRC, media)
	case s.canFIR.Load():
		s.firs++
		b = relay.AppendFIR(b, s.renumber.SSRC, media, s.firs)
	default:
		return
	}
	s.sendRTCP(b)
}

// tell sends the report of this stream when it is due. It is called by the clock.
func (s *stream) tell(now time.Duration) {
	if now < s.report {
		return
	}
	s.report = now + reportEvery/2 + rand.N(reportEvery) // RFC 3550, 6.3.1
	take(&s.writing)
	sent, ssrc := s.sent, s.renumber.SSRC
	s.writing.Store(false)
	take(&s.reading)
	var block *relay.Report
	if s.received.Packets > 0 {
		r := s.received.Report(now)
		block = &r
	}
	clock := s.clock
	s.reading.Store(false)
	var room [256]byte
	s.sendRTCP(s.leg.e.origin.AppendReport(room[:0], ssrc, &sent, clock, block, cname, now))
}

// cname is the same for all that this server sends in a call: that is what a canonical name is for; it must not tell callers apart. RFC 7022
const cname = "signalbox"

// sendRTCP enciphers and sends a compound packet.
func (s *stream) sendRTCP(b []byte) {
	c := s.encipher.Load()
	if c == nil && s.mandated.Load() {
		return
	}
	if c != nil {
		take(&c.controlBusy)
		out, err := c.control.EncryptRTCP(nil, b, nil)
		c.controlBusy.Store(false)
		if err != nil {
			return
		}
		b = out
	}
	var socket *udp.Socket
	var to *udp.Addr
	switch {
	case s.leg.browser != nil:
		socket, to = s.destination()
	case s.muxed.Load():
		socket, to = s.rtp, s.to.Load()
	default:
		socket, to = s.rtcp, s.toRTCP.Load()
	}
	if to != nil {
		socket.Send(b, to)
	}
}
