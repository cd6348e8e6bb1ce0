package transaction

import "signalbox/internal/wire"

// hearINVITE is RFC 6026, 8.4, Figure 5.
func (m *client) hearINVITE(res *wire.Response) {
	code := res.StatusCode
	waiting := m.state == calling || m.state == proceeding
	switch {
	case waiting && code < 200:
		m.proceed(res)
	case waiting && code < 300:
		m.accept(res)
	case waiting:
		m.complete(res)
	case m.state == accepted && code >= 200 && code < 300:
		m.pass(res)
	case m.state == completed && code >= 300:
		m.acknowledge() // a retransmission, by RFC 3261, 17.1.3, whatever it says
	}
}

// proceed enters Proceeding: nothing is sent again, and no timer ends the wait: that is the user's Timer C (RFC 3261, 17.1.1.2 and 16.8).
func (m *client) proceed(res *wire.Response) {
	if m.state == calling {
		m.state, m.last = proceeding, nil
		m.timer.Stop()
		if m.cancelling {
			m.sendCANCEL() // it has waited for this response (RFC 3261, 9.1)
		}
	}
	m.pass(res)
}

// accept enters Accepted for Timer M: every 2xx is the user's (RFC 6026, 7.2).
func (m *client) accept(res *wire.Response) {
	m.settle()
	m.rest(accepted, timerM)
	m.pass(res)
}

// complete enters Completed: the response is acknowledged, for Timer D each time it comes (RFC 3261, 17.1.1.2).
func (m *client) complete(res *wire.Response) {
	m.settle()
	m.last = m.layer.exact(func(dst []byte) []byte { // RFC 3261, 17.1.1.3
		return appendHopByHop(dst, m.handle.Request, "ACK", res.To.Raw, "")
	})
	m.acknowledge()
	m.conclude(timerD, res)
}

// acknowledge sends the ACK to where the INVITE went. RFC 3261, 17.1.4: not done here, the user has its final response, and a lost ACK is sent again for the next one.
func (m *client) acknowledge() {
	if err := m.flow.Send(m.last); err != nil {
		m.debug("transaction: ACK not sent", "err", err)
	}
}

// expireINVITE is Timer A before the deadline, else B, D, M or the end of a cancelled INVITE.
func (m *client) expireINVITE() {
	switch {
	case m.state == calling && m.timer.due < m.deadline:
		m.resend(func(interval tick) tick { return 2 * interval })
	case m.state == calling, m.state == proceeding:
		m.fail(ErrTimeout)
	default:
		m.terminate()
	}
}
