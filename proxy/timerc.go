package proxy

import (
	"time"

	"signalbox/internal/wire"
)

// setTimerC starts Timer C of an INVITE's branch. RFC 3261, 16.6 step 11
func (b *branch) setTimerC() {
	if !b.c.rings {
		return
	}
	b.until = time.Now().Add(timerC)
	b.timerC = b.c.owner.After(timerC, b.onTimerC)
}

// putOffTimerC resets Timer C. The timer itself stays where it is and looks at the time when it fires: phones send many provisional responses.
// RFC 3261, 16.7 step 2
func (b *branch) putOffTimerC() { b.until = time.Now().Add(timerC) }

func (b *branch) stopTimerC() {
	b.timerC.Stop()
	b.timerC = nil
}

// onTimerC ends a branch that has been silent for too long. RFC 3261, 16.8
func (b *branch) onTimerC() {
	if left := time.Until(b.until); left > 0 {
		b.timerC = b.c.owner.After(left, b.onTimerC)
		return
	}
	if b.c.p.Metrics.Expired != nil {
		b.c.p.Metrics.Expired()
	}
	b.expired = true
	if b.provisional {
		b.client.Cancel("") // its final response, or the lack of one, counts as 408
		return
	}
	b.fail(wire.Errorf(408, "", "proxy: Timer C"))
	b.c.advance()
}

// startRinging: the targets of one q value get so much time, if there are others to try after them.
func (c *call) startRinging() {
	c.ring.Stop()
	c.ring = nil
	if c.rings && len(c.targets) > 0 && c.targets[len(c.targets)-1].q != c.q {
		c.ring = c.owner.After(serialRing, c.onUnanswered)
	}
}

// onUnanswered ends the branches that ring. When their final responses have come, the next q value is tried.
func (c *call) onUnanswered() {
	for _, b := range c.branches {
		if !b.done {
			b.expired = true
			b.cancel("")
		}
	}
	c.advance()
}
