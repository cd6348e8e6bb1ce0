package proxy

import (
	"strings"

	"signalbox/internal/gruu"
	"signalbox/internal/wire"
	"signalbox/location"
)

// instance picks the bindings that a GRUU leads to. RFC 5627, 5.4
func (p *Proxy) instance(bindings []location.Binding, of *gruu.Target) (list []location.Binding) {
	for i := range bindings {
		b := &bindings[i]
		if b.InstanceID != "" && p.GRUU.ID(of.AOR, b.InstanceID) == of.ID && (!of.Temporary || b.Epoch == of.Epoch) {
			list = append(list, *b)
		}
	}
	return list
}

// findGRUU: the other side of the dialog named itself by a GRUU. It leads to that phone's contact, by the flow of the dialog if that is still one of the phone's; to
// the phone of anybody else the dialog gives no right. RFC 5627, 6.1
func (c *call) findGRUU(aor wire.AOR, to leg) error {
	of, ok := c.p.GRUU.Open(c.uri, aor)
	bindings := c.p.instance(c.p.Location.Lookup(of.AOR), &of)
	if !ok || of.AOR.User != to.member.user || len(bindings) > 0 && c.p.memberKey(of.AOR.Host, &bindings[0]) != to.member.key {
		return wire.Errorf(404, "", "proxy: GRUU %s is not the other side's", c.uri.Raw)
	}
	var best *location.Binding
	for i := range bindings {
		b := &bindings[i]
		if c.usable(b) && (best == nil || best.Flow != to.flow && (b.Flow == to.flow || b.Updated.After(best.Updated))) {
			best = b
		}
	}
	if best == nil {
		return wire.Errorf(480, "", "proxy: the phone of %s is gone", c.uri.Raw)
	}
	c.add(c.bindingTarget(best))
	return nil
}

// checkContact refuses a dialog whose further requests would go to somebody else: a GRUU of ours in its Contact belongs to the sender. RFC 5627, 6.2
func (c *call) checkContact() error {
	if !makesDialog(c.req.CSeq.Method) {
		return nil
	}
	if of, ok := c.contactGRUU(); ok && of.AOR != c.user {
		return wire.Errorf(403, "", "proxy: %s with the GRUU of %s as Contact", c.user, of.AOR)
	}
	return nil
}

// contactGRUU is the GRUU of ours by which the sender names itself.
func (c *call) contactGRUU() (of gruu.Target, ok bool) {
	if c.p.GRUU == nil {
		return of, false
	}
	contact := wire.Get(c.req, "Contact")
	if !strings.Contains(contact, ";gr") {
		return of, false
	}
	a, err := wire.ParseAddress(contact)
	if err != nil || !gruu.Is(a.URI) {
		return of, false
	}
	aor, ours := c.p.Domains.AOR(a.URI)
	if !ours {
		return of, false
	}
	return c.p.GRUU.Open(a.URI, aor)
}
