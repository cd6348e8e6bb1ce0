package proxy

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/gruu"
	"signalbox/internal/wire"
)

// preference is one value of Accept-Contact or Reject-Contact. RFC 3841, 7.2.1
type preference struct {
	features          featureSet
	require, explicit bool
}

// prefer drops the targets that the caller does not want and puts the others in the order of the caller, within that of the callee. RFC 3841, 7.2
func (c *call) prefer() error {
	accept, reject, err := c.explicitPreferences()
	if err != nil {
		return err
	}
	implicit := len(accept)+len(reject) == 0
	if implicit {
		accept = c.implicitPreferences(c.targets)
	}
	if len(accept)+len(reject) > 0 {
		kept := make([]target, 0, len(c.targets))
		for i := range c.targets {
			t := &c.targets[i]
			score, wanted := judge(t, accept, reject)
			if !wanted {
				continue
			}
			kept = append(kept, *t)
			if !implicit { // RFC 3841, 7.2.4: within one q of the callee's the better ones are tried first
				kept[len(kept)-1].q = t.q*(maxScore+1) + score
			}
		}
		switch {
		case len(kept) > 0:
			slices.SortStableFunc(kept, func(a, b target) int { return cmp.Compare(b.q, a.q) })
			c.targets = kept
		case !implicit:
			return wire.Errorf(480, "", "proxy: no contact of %s is what the caller wants", c.aor)
		}
	}
	c.dispose()
	return nil
}

// explicitPreferences reads the header fields. RFC 3841, 7.2.1
func (c *call) explicitPreferences() (accept, reject []preference, err error) {
	if c.facts&hasPreferences == 0 {
		return nil, nil, nil
	}
	if accept, err = c.readPreferences("Accept-Contact"); err == nil {
		reject, err = c.readPreferences("Reject-Contact")
	}
	if len(accept)+len(reject) > maxRules {
		err = wire.Errorf(403, "Too Many Preferences", "proxy: %d preferences", len(accept)+len(reject)) // RFC 3841, 11
	}
	return accept, reject, err
}

func (c *call) readPreferences(name string) (list []preference, err error) {
	values := wire.List(c.req, name)
	if len(values) > maxRules {
		return nil, wire.Errorf(403, "Too Many Preferences", "proxy: %d values of %s", len(values), name)
	}
	for _, value := range values {
		params, ok := strings.CutPrefix(value, "*")
		if !ok {
			return nil, wire.Errorf(400, "Bad "+name, "proxy: %s %q", name, value)
		}
		var p preference
		p.features, err = parseFeatures(strings.TrimSpace(params), maxValues, func(other string) {
			p.require = p.require || other == "require"
			p.explicit = p.explicit || other == "explicit"
		})
		switch {
		case errors.Is(err, errFeatures):
			return nil, wire.Errorf(403, "Too Many Preferences", "proxy: %s %q: %w", name, value, err)
		case err != nil:
			return nil, wire.Errorf(400, "Bad "+name, "proxy: %s %q: %w", name, value, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// implicitPreferences: a phone that says which methods it knows, and which events, is not asked for others. RFC 3841, 7.2.2
func (c *call) implicitPreferences(targets []target) []preference {
	told := false
	for i := range targets {
		if b := targets[i].binding; b != nil && (strings.Contains(b.Params, "methods=") || strings.Contains(b.Params, "events=")) {
			told = true
		}
	}
	if !told {
		return nil
	}
	p := preference{require: true}
	p.features = append(p.features, feature{"sip.methods", []featureValue{{text: strings.ToLower(c.req.CSeq.Method)}}})
	if c.req.Method == sip.SUBSCRIBE {
		event, _, _ := strings.Cut(wire.Get(c.req, "Event"), ";")
		p.features = append(p.features, feature{"sip.events", []featureValue{{text: strings.ToLower(strings.TrimSpace(event))}}})
	}
	return []preference{p}
}

// maxScore is a full match, in thousandths.
const maxScore = 1000

// judge tells how well a target fits the caller's wishes, 0 to maxScore, and whether it is wanted at all. One that says nothing of itself is immune.
// RFC 3841, 7.2.4; RFC 3841, 7.2.5 is an example.
func judge(t *target, accept, reject []preference) (score int, wanted bool) {
	if t.binding == nil {
		return maxScore, true
	}
	can, err := parseFeatures(t.binding.Params, maxCapabilities, nil)
	if err != nil || len(can) == 0 {
		return maxScore, true
	}
	for _, p := range reject {
		if len(p.features) > 0 && p.features.known(can) == len(p.features) && p.features.matches(can) {
			return 0, false
		}
	}
	sum, matching := 0, 0
	for _, p := range accept {
		if !p.features.matches(can) {
			if p.require {
				return 0, false
			}
			continue
		}
		s := maxScore
		if n := len(p.features); n > 0 {
			s = p.features.known(can) * maxScore / n
		}
		if s < maxScore && p.explicit {
			if p.require {
				return 0, false
			}
			s = 0
		}
		sum += s
		matching++
	}
	switch {
	case len(accept) == 0:
		return maxScore, true
	case matching == 0:
		return 0, true
	}
	return sum / matching, true
}

// dispose does what the caller asks of the search itself, but for two things, which pass with the request. We never recurse: where a phone redirects its callers to is a call that its user would
// pay for, and nobody has asked for that (hardening 43). And whoever queues calls is a user agent; a proxy has no queue. RFC 3841, 7.1 and 9.1
func (c *call) dispose() {
	if c.facts&hasDisposition == 0 {
		return
	}
	for _, directive := range wire.List(c.req, "Request-Disposition") {
		switch strings.ToLower(directive) {
		case "no-cancel":
			c.noCancel = true
		case "no-fork":
			c.targets = c.targets[:1]
		case "parallel":
			for i := range c.targets {
				c.targets[i].q = 0
			}
		case "sequential":
			for i := range c.targets {
				c.targets[i].q = len(c.targets) - i
			}
		}
	}
}

// redirect answers with the addresses instead of calling them, if the caller asks for it. Only GRUUs are given away: the addresses of phones are of no use to a caller
// beyond their NAT, and nobody's business. Who was called by a GRUU is not redirected (RFC 5627, 6.1). RFC 3841, 9.1
func (c *call) redirect() bool {
	if c.facts&hasDisposition == 0 || c.user == (wire.AOR{}) || c.aor == (wire.AOR{}) || c.p.GRUU == nil || gruu.Is(c.uri) || !c.wantsRedirect() {
		return false
	}
	res := wire.NewResponse(c.req, 302, "", wire.NewTag())
	class := 0
	for i := range c.targets {
		t := &c.targets[i]
		if t.binding == nil || t.binding.InstanceID == "" {
			return false
		}
		if i > 0 && t.q != c.targets[i-1].q {
			class++
		}
		b := append(c.p.GRUU.AppendPublic([]byte{'<'}, c.aor, t.binding.InstanceID), '>')
		wire.Add(res, "Contact", string(appendQ(b, 1000-class*(1000/maxBranches))))
	}
	c.tx.Respond(res)
	return true
}

func (c *call) wantsRedirect() bool {
	return slices.ContainsFunc(wire.List(c.req, "Request-Disposition"), func(d string) bool { return strings.EqualFold(d, "redirect") })
}

// appendQ writes a q of thousandths. RFC 3261, 20.10
func appendQ(b []byte, q int) []byte {
	if q >= 1000 {
		return append(b, ";q=1.0"...)
	}
	return append(append(b, ";q=0."...), '0'+byte(q/100), '0'+byte(q/10%10), '0'+byte(q%10))
}
