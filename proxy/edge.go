package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
)

// An edge proxy stands in front of another domain's registrar, which authenticates everybody; it keeps the flows to the phones, which nobody else can (RFC 5626, 5).
// To the domains of Config.Edge we are one: what their people send goes there, and there only; what comes from there finds the phone by the flow token in
// the Path that its REGISTER has got here.

// edgeRole is what a request has to do with that.
type edgeRole uint8

const (
	edgeNone   edgeRole = iota
	edgeOut             // from a phone to its domain
	edgeIn              // to a phone, by its flow token
	edgeForged          // with a token that is not ours
)

// edgeToken is a token of another kind than those of dialogs: it names a flow and holds as long as the flow.
//
//	base64url( version(1) mac(12) flow )
const edgeTokenVersion = 3

// signFlow appends the token of a flow. RFC 5626, 5.2
func (s *signer) signFlow(dst []byte, flow wire.FlowID) []byte {
	var room [maxToken]byte
	raw := append(room[:0], edgeTokenVersion)
	raw = leg{flow: flow}.append(raw[:1+macSize])
	s.mac(raw[1:], raw[1+macSize:], "", "") // no dialog has neither Call-ID nor tag
	return wire.UserText.AppendEncode(dst, raw)
}

// verifyFlow reads a token of signFlow.
func (s *signer) verifyFlow(text string) (flow wire.FlowID, ok bool) {
	var room [maxToken]byte
	if len(text) > maxTokenText {
		return flow, false
	}
	n, err := wire.UserText.Decode(room[:], []byte(text))
	if err != nil || n <= 1+macSize || room[0] != edgeTokenVersion {
		return flow, false
	}
	var want [macSize]byte
	s.mac(want[:], room[1+macSize:n], "", "")
	var l leg
	rest, ok := l.parse(room[1+macSize:n], false)
	return l.flow, ok && len(rest) == 0 && equalMAC(want[:], room[1:1+macSize])
}

// looksLikeEdgeToken tells a token, good or forged, from the user part of an ordinary URI.
func looksLikeEdgeToken(user string) bool {
	if len(user) < wire.UserText.EncodedLen(1+macSize+1) || user[0] != 'A' || !wire.IsUserText(user) {
		return false
	}
	return user[1] >= 'w' && user[1] <= 'z' || user[1] < 'A' || user[1] == '_'
}

// readEdgeToken finds the phone that a Route value of ours leads to. One that the phone itself has sent is no news. RFC 5626, 5.3
func (c *call) readEdgeToken(u wire.URI) {
	flow, ok := c.p.signer.verifyFlow(u.User)
	switch {
	case !ok:
		c.edge = edgeForged
	case flow != c.tx.Flow.ID() && c.edge == edgeNone:
		c.edge, c.edgeFlow = edgeIn, flow
	}
}

// admitEdge lets those pass whom the domain behind us, or the phone in front of us, will ask who they are. decided is false for everybody else.
func (c *call) admitEdge() (decided bool, err error) {
	switch {
	case c.edge == edgeForged:
		return true, wire.Errorf(403, "", "proxy: flow token is not ours") // RFC 5626, 5.3.1
	case c.edge == edgeIn && !c.dialog.valid:
		c.stranger = true
		return true, nil
	case c.edge == edgeNone && c.toEdge():
		c.edge = edgeOut
		return true, nil
	}
	return false, nil
}

// toEdge: it is from one of a domain's people, and goes to that domain, by the first Route value if there is one.
func (c *call) toEdge() bool {
	if c.p.Edge == nil || c.dialog.valid || hasMaddr(c.uri) {
		return false
	}
	if _, theirs := c.p.Edge.Domain(c.req.From.URI.Host); !theirs {
		return false
	}
	next := c.uri
	if len(c.routes) > 0 {
		a, err := wire.ParseAddress(c.routes[0])
		if err != nil {
			return false
		}
		next = a.URI
	}
	_, theirs := c.p.Edge.Domain(next.Host)
	return theirs && next.IsSIP() && !hasMaddr(next)
}

// checkEdgeRegister: a phone that counts on us to keep its flow must let us put ourselves into its Path. RFC 3327, 5.2; RFC 5626, 5.1
func (c *call) checkEdgeRegister() error {
	if c.edge != edgeOut || c.req.Method != sip.REGISTER || c.vias > 1 {
		return nil
	}
	for _, tag := range wire.List(c.req, "Supported") {
		c.path = c.path || strings.EqualFold(tag, "path")
	}
	for _, value := range wire.List(c.req, "Contact") {
		if a, err := wire.ParseAddress(value); err == nil {
			_, regID := a.Param("reg-id")
			c.ob = c.ob || regID
		}
	}
	if c.ob && !c.path {
		return wire.Errorf(421, "", "proxy: reg-id without Supported: path").With("Require", "path")
	}
	return nil
}

// recordPath puts us into the Path of a REGISTER, with the token of the phone's flow. RFC 3327, 5.2; RFC 5626, 5.1
func (b *branch) recordPath(req *wire.Request, flow transport.Flow) {
	c := b.c
	if !c.path {
		return
	}
	out := side{flow.ID().Proto, flow, req.URI.Scheme == "sips"}
	if b.large {
		out.proto = wire.UDP
	}
	value := out.recordRoute(c.p.signer.signFlow(nil, c.tx.Flow.ID()))
	if c.ob {
		value = strings.TrimSuffix(value, ">") + ";ob>"
	}
	wire.Push(req, "Path", value)
}
