package relay

import (
	"net/netip"
	"time"
)

const (
	// learnFor is how long after an answer a phone may turn out to send from elsewhere than it said: Asterisk's strictrtp takes as long.
	learnFor = 5 * time.Second

	// grace is how long only the address that was promised is believed: a phone that is not behind NAT sends within it.
	grace = 250 * time.Millisecond

	// enough packets in a row, of one source, with numbers that follow each other, show that somebody speaks there and not just shoots.
	enough = 4
)

// Latch decides whose packets are a phone's. The address of the phone's description counts; one behind NAT cannot know its own address, so for a few
// seconds after an answer another source may prove itself, from the address that the phone's signalling comes from and nowhere else. Then nothing
// changes any more until the next answer. RFC 7362, 4
type Latch struct {
	promised  netip.AddrPort // from the description
	signalled netip.Addr     // where its signalling comes from
	since     time.Duration  // the answer

	locked    netip.AddrPort
	exact     bool // locked is what was promised
	candidate netip.AddrPort
	ssrc      uint32
	seq       uint16
	run       int
}

// Expect begins to look for the phone, after an answer.
func (l *Latch) Expect(promised netip.AddrPort, signalled netip.Addr, now time.Duration) {
	if l.locked.IsValid() && promised == l.promised && signalled == l.signalled {
		return // the description is the same: so is the place
	}
	*l = Latch{promised: promised, signalled: signalled, since: now}
}

// Locked is the address the phone was found at, or the zero AddrPort.
func (l *Latch) Locked() netip.AddrPort { return l.locked }

// Target is where to send: where the phone was found or, before that, what it promised, unless that leads where the phone cannot be. Nobody may make us send
// into our own machine or network who does not speak to us from there.
func (l *Latch) Target() netip.AddrPort {
	if l.locked.IsValid() && (l.exact || !l.near()) {
		return l.locked
	}
	if l.promised.Port() == 0 || !Reachable(l.promised.Addr(), l.signalled) {
		return netip.AddrPort{}
	}
	return l.promised
}

// near: there is no NAT between, since the phone's own address, a private one, is what we see. It may send from another port than it listens on, but it
// knows where it listens.
func (l *Latch) near() bool {
	a := l.promised.Addr()
	return a == l.signalled && (a.IsPrivate() || a.IsLoopback())
}

// Accept tells whether a packet is the phone's. moved is true when it changed where to send.
func (l *Latch) Accept(from netip.AddrPort, ssrc uint32, seq uint16, now time.Duration) (ok, moved bool) {
	if from == l.locked {
		return true, false
	}
	if l.exact || !l.signalled.IsValid() {
		return false, false
	}
	if from == l.promised && Reachable(from.Addr(), l.signalled) {
		moved = true
		l.locked, l.exact = from, true
		return true, moved
	}
	age := now - l.since
	if l.locked.IsValid() || age > learnFor || age < grace || from.Addr() != l.signalled && from.Addr() != l.promised.Addr() {
		return false, false
	}
	if from != l.candidate || ssrc != l.ssrc || seq != l.seq+1 {
		l.candidate, l.ssrc, l.run = from, ssrc, 0
	}
	l.seq = seq
	if l.run++; l.run < enough {
		return false, false
	}
	l.locked = from
	return true, true
}

// Reachable tells whether a description may send us to an address, coming from where its signalling comes from: anywhere public; into a private network
// only from a private one; to this machine only from this machine.
func Reachable(a, signalled netip.Addr) bool {
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
		return false
	case a == signalled:
		return true
	case a.IsLoopback():
		return signalled.IsLoopback()
	case a.IsLinkLocalUnicast():
		return false
	case a.IsPrivate() || shared.Contains(a):
		return signalled.IsPrivate() || signalled.IsLoopback() || shared.Contains(signalled)
	}
	return a.IsGlobalUnicast()
}

// shared address space of providers' NAT. RFC 6598
var shared = netip.MustParsePrefix("100.64.0.0/10")
