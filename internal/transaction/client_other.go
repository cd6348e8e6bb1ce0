package transaction

import "signalbox/internal/wire"

// hearOther is RFC 3261, 17.1.2.2, Figure 6.
func (m *client) hearOther(res *wire.Response) {
	if m.state != trying && m.state != proceeding {
		return // a retransmission
	}
	if res.StatusCode < 200 {
		m.state = proceeding
		m.pass(res)
		return
	}
	m.settle()
	m.conclude(timerK, res)
}

// expireOther is Timer E before the deadline, else F or K.
func (m *client) expireOther() {
	switch {
	case m.state == completed:
		m.terminate()
	case m.timer.due >= m.deadline:
		m.fail(ErrTimeout)
	case m.state == proceeding:
		m.resend(func(tick) tick { return ticks(T2) })
	default:
		m.resend(backOff)
	}
}
