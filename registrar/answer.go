package registrar

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"signalbox/internal/wire"
	"signalbox/location"
)

// answer sends the 200: all current bindings, each with the seconds it has left, and the date (RFC 3261, 10.3 step 8); what extensions add to it
// the phone supports (RFC 3261, 8.2.4).
func (g *registration) answer(bindings []location.Binding) {
	wire.LendResponse(g.req, 200, "", wire.NewTag(), func(res *wire.Response) {
		g.describe(res, bindings, time.Now())
		g.tx.Respond(res)
	})
}

func (g *registration) describe(res *wire.Response, bindings []location.Binding, now time.Time) {
	var scratch [768]byte
	for i := range bindings {
		if b := &bindings[i]; b.Usable() && g.mayTell(b) {
			value := appendContact(scratch[:0], b, now)
			wire.Add(res, "Contact", string(g.appendGRUUs(value, bindings, b)))
		}
	}
	g.answerPath(res)
	g.answerOutbound(res)
	g.answerIdentities(res, scratch[:0])
	if g.identity.Info != "" {
		wire.Add(res, "Authentication-Info", g.identity.Info) // RFC 7616, 3.5
	}
	g.answerSession(res, bindings, now)
	wire.Add(res, "Date", g.date.at(now))
}

// appendContact writes a binding as a Contact value, with the parameters it was registered with.
func appendContact(b []byte, binding *location.Binding, now time.Time) []byte {
	b = append(append(append(b, '<'), binding.Contact.Raw...), '>')
	b = append(b, binding.Params...)
	if q := binding.Q; q < 1000 {
		b = append(b, ";q=0."...)
		for unit := 100; q > 0; unit /= 10 {
			b = append(b, byte('0'+q/unit))
			q %= unit
		}
		if b[len(b)-1] == '.' {
			b = b[:len(b)-1] // q=0
		}
	}
	// An expires of 0 would say that the binding is gone.
	left := max(1, binding.Expires.Sub(now).Round(time.Second)/time.Second)
	return strconv.AppendInt(append(b, ";expires="...), int64(left), 10)
}

// date is the Date of answers, written once a second.
type date struct{ last atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

func (d *date) at(now time.Time) string {
	last, second := d.last.Load(), now.Unix()
	if last == nil || last.second != second {
		last = &dated{second, now.UTC().Format(http.TimeFormat)} // RFC 3261, 20.17 is RFC 1123's form, in GMT
		d.last.Store(last)
	}
	return last.text
}
