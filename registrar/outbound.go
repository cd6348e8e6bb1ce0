package registrar

import (
	"strconv"
	"strings"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// readFlows decides which contacts are flows of outbound (RFC 5626, 6): the others are bound by their URI as before.
func (g *registration) readFlows() error {
	registering, flows, flowing := 0, 0, false
	for i := range g.contacts {
		c := &g.contacts[i]
		if c.instance == "" {
			c.regID = 0 // RFC 5626, 6: a reg-id without an instance is ignored
		}
		if c.regID != 0 {
			flows++
		}
		if c.interval > 0 {
			registering++
			flowing = flowing || c.regID != 0
		}
	}
	switch {
	case flows == 0:
		return nil
	case flowing && registering > 1:
		return wire.Errorf(400, "One Flow At A Time", "registrar: %d contacts, with reg-id", registering)
	case !g.direct() && !g.throughEdge():
		return g.ignoreFlows()
	}
	g.outbound = g.options&knowsOutbound != 0
	if g.outbound && g.keptByFlowTimer() && g.tx.Flow.ID().Proto.Reliable() {
		transport.ExpectKeepAlive(g.tx.Flow, maxIdle)
	}
	return nil
}

// ignoreFlows: the first proxy does not keep the phone's flow, so nobody does. A phone that counts on it must hear that, and nobody else: RFC 5626, 6 and 11.6
func (g *registration) ignoreFlows() error {
	if g.options&knowsOutbound != 0 {
		return wire.Errorf(439, "", "registrar: outbound by way of a proxy that does not know it")
	}
	for i := range g.contacts {
		g.contacts[i].regID = 0
	}
	return nil
}

// direct: no proxy stands between us and the phone.
func (g *registration) direct() bool { return g.vias == 1 }

// throughEdge: the proxy next to the phone, which was the first to write a Path and so is the last in it, keeps its flow. RFC 5626, 5.1
func (g *registration) throughEdge() bool {
	if len(g.path) == 0 {
		return false
	}
	a, err := wire.ParseAddress(g.path[len(g.path)-1])
	_, ob := a.URI.Param("ob")
	return err == nil && ob
}

// keptByFlowTimer: the phone is asked for keep-alives. Not where an edge proxy keeps the flow: that is its to say. Nor on a WebSocket: there browsers can send none, and our own pings
// find the dead (RFC 7118, 6).
func (g *registration) keptByFlowTimer() bool {
	proto := g.tx.Flow.ID().Proto
	return g.direct() && proto != wire.WS && proto != wire.WSS
}

// answerOutbound says that the flow is kept, and how often the phone shall show that it lives (RFC 5626, 6 and 5.4).
func (g *registration) answerOutbound(res *wire.Response) {
	if !g.outbound {
		return
	}
	wire.Add(res, "Require", "outbound")
	if !g.keptByFlowTimer() {
		return
	}
	seconds := flowTimerStream
	if !g.tx.Flow.ID().Proto.Reliable() {
		seconds = flowTimerUDP
	}
	wire.Add(res, "Flow-Timer", strconv.Itoa(seconds))
}

// find looks for the binding that a contact means: a flow is bound by instance and reg-id, whatever its URI, anything else by its URI
// (RFC 5626, 6; RFC 3261, 10.3 step 7). A phone that leaves may name a flow by its URI alone.
func (c *contact) find(bindings []location.Binding) int {
	at := -1
	for i := range bindings {
		b := &bindings[i]
		switch {
		case c.regID != 0 && b.RegID == c.regID && b.InstanceID == c.instance:
			return i
		case c.regID == 0 && b.RegID == 0 && b.Contact.Equal(c.uri):
			return i
		case c.regID == 0 && c.interval == 0 && b.Contact.Equal(c.uri):
			at = i
		}
	}
	return at
}

// tidy drops what a phone that is back has left behind: bindings of connections that are gone. If there are still too many, it drops what is of no use any more, the
// oldest first: other lost bindings, and earlier contacts of an instance, of which only the newest is called (RFC 5627, 6.1).
func (g *registration) tidy(bindings []location.Binding) []location.Binding {
	kept := bindings[:0]
	for i := range bindings {
		if b := &bindings[i]; b.Usable() || !g.replaces(b) {
			kept = append(kept, *b)
		}
	}
	for len(kept) > g.terms.contacts {
		worst := -1
		for i := range kept {
			b := &kept[i]
			useless := !b.Usable() || b.RegID == 0 && b.InstanceID != "" && location.Newest(kept, b.InstanceID) != b
			if useless && (worst < 0 || b.Updated.Before(kept[worst].Updated)) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		kept = append(kept[:worst], kept[worst+1:]...)
	}
	return kept
}

// replaces tells whether a contact of this REGISTER comes from the phone that a lost binding belonged to.
func (g *registration) replaces(lost *location.Binding) bool {
	if lost.RegID != 0 {
		return false // comes back by its reg-id
	}
	for i := range g.contacts {
		c := &g.contacts[i]
		if c.interval > 0 && (c.instance != "" && c.instance == lost.InstanceID || c.instance == "" && lost.InstanceID == "" && lost.CallID == g.req.CallID) {
			return true
		}
	}
	return false
}

// canonicalInstance brings an instance ID into the form that is compared byte for byte: the usual ones, UUIDs, are written in either case
// (RFC 5626, 4.1).
func canonicalInstance(s string) string {
	const uuid = "<urn:uuid:"
	if len(s) > len(uuid) && strings.EqualFold(s[:len(uuid)], uuid) {
		return strings.ToLower(s)
	}
	return s
}
