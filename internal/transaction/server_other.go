package transaction

import (
	"strconv"
	"strings"
	"time"

	"signalbox/internal/wire"
)

// respondOther is what the user may do in each state of RFC 3261, 17.2.2, within RFC 4320, 4.1 and 4.2.
func (m *server) respondOther(tx *Server, res *wire.Response) {
	code := res.StatusCode
	switch {
	case m.state != trying && m.state != proceeding:
		m.forbid(code)
	case code > 100 && code < 200:
		m.forbid(code) // RFC 4320, 4.1: no provisional but 100
	case code == 100 && !m.reliable && m.state == trying:
		m.forbid(code) // RFC 4320, 4.1: not before Timer E reached T2; then the layer sends it itself
	case code == 100:
		m.provisional(res)
	case code == 408:
		m.forbid(code)
		m.silence(tx) // RFC 4320, 4.2
	default:
		m.final(tx, res)
		if m.stateless {
			m.forget(tx, res)
			return
		}
		m.absorb(timerJ)
		m.report(tx, code)
	}
}

// await starts what happens to a request that its user has not answered at once: a 100 after 3.5 s, and the end in silence after 32.
func (m *server) await() {
	m.deadline = m.layer.wheel.in(timerF)
	m.timer.start(m.layer.wheel.in(tryingAfter))
}

// absorb enters Completed: Timer J on unreliable transports, the end on reliable ones (RFC 3261, 17.2.2).
func (m *server) absorb(d time.Duration) {
	m.state = completed
	if m.reliable {
		m.terminate()
		return
	}
	m.deadline = m.layer.wheel.leisurely(d)
	m.timer.start(m.deadline)
}

// silence completes the transaction without a final response. Retransmissions are absorbed as ever: the client sends them until its Timer F.
func (m *server) silence(tx *Server) {
	m.release(tx)
	m.absorb(timerF)
	m.report(tx, 408)
}

// expireOther is the 100 of RFC 4320, the deadline of a request that nobody answers, or Timer J.
func (m *server) expireOther() {
	if m.timer.due >= m.deadline {
		m.terminate()
		return
	}
	if m.state == trying {
		// RFC 4320, 4.1: MUST, on every transport, if there was no other response.
		m.provisional(lateTrying(m.handle.Request))
	}
	m.timer.start(m.deadline)
}

// lateTrying is a 100 that says how late it is, if the client wants to know. RFC 3261, 8.2.6.1
func lateTrying(req *wire.Request) *wire.Response {
	res := wire.NewResponse(req, 100, "", "")
	if sent, _, _ := strings.Cut(wire.Get(res, "Timestamp"), " "); sent != "" {
		wire.Set(res, "Timestamp", sent+" "+strconv.FormatFloat(tryingAfter.Seconds(), 'f', -1, 64))
	}
	return res
}
