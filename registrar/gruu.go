package registrar

import (
	"math/rand/v2"

	"signalbox/location"
)

// epoch is that of a contact's instance, 0 without one. All temporary GRUUs of the instance become void when the phone comes with another Call-ID, which
// means that it has started anew and forgotten them: then a new epoch begins, and not only for this contact. RFC 5627, 5.1. cseq is that of the REGISTER it
// begins with.
func (g *registration) epoch(bindings []location.Binding, c *contact) (epoch, cseq uint32) {
	if c.instance == "" || c.interval == 0 {
		return 0, 0
	}
	var last, any *location.Binding
	for i := range bindings {
		b := &bindings[i]
		if b.InstanceID != c.instance {
			continue
		}
		any = b
		if (c.regID == 0 || b.RegID == c.regID) && (last == nil || b.Updated.After(last.Updated)) {
			last = b
		}
	}
	if any == nil {
		return newEpoch(), g.req.CSeq.Seq
	}
	if last == nil || last.CallID == g.req.CallID {
		return any.Epoch, any.EpochCSeq
	}
	epoch, cseq = newEpoch(), g.req.CSeq.Seq
	for i := range bindings {
		if bindings[i].InstanceID == c.instance {
			bindings[i].Epoch, bindings[i].EpochCSeq = epoch, cseq
		}
	}
	return epoch, cseq
}

// newEpoch is never 0, and in practice never one that an instance had before.
func newEpoch() uint32 { return rand.Uint32() | 1 }

// appendGRUUs adds the GRUUs of a binding's instance to its Contact, if the phone knows what they are: the public one, and the temporary one made by its latest
// REGISTER (RFC 5627, 5.2).
func (g *registration) appendGRUUs(dst []byte, bindings []location.Binding, b *location.Binding) []byte {
	if g.options&knowsGRUU == 0 || g.GRUU == nil || b.InstanceID == "" {
		return dst
	}
	newest := location.Newest(bindings, b.InstanceID)
	return g.GRUU.AppendParams(dst, g.aor, b.InstanceID, newest.Epoch, newest.Stamp())
}
