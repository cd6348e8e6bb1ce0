package policy

import (
	"strconv"
)

// Line is one part of an explained decision: what holds, and the rule that says so ("" for the default).
type Line struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Rule    string `json:"rule,omitempty"`
}

// Explain decides, and says for each setting which rule it comes from. Settings that no rule has are left out, but for the decision itself.
func (p *Policy) Explain(f *Facts) (Decision, []Line) {
	var from [settings]int
	d := p.decide(f, &from)
	verdict := Line{Setting: settingNames[sDecided], Value: "allow"}
	if from[sDecided] > 0 {
		verdict.Rule = p.rules[from[sDecided]-1].name
	}
	if d.Deny != nil {
		verdict.Value, verdict.Rule = "deny "+strconv.Itoa(d.Deny.Code), d.Deny.Rule
		if d.Deny.Reason != "" {
			verdict.Value += " " + d.Deny.Reason
		}
	}
	lines := []Line{verdict}
	for s := sDecided + 1; s < settings; s++ {
		if from[s] > 0 {
			lines = append(lines, Line{settingNames[s], d.value(s), p.rules[from[s]-1].name})
		}
	}
	return d, lines
}

// value is a setting as the file has it.
func (d *Decision) value(s setting) string {
	switch s {
	case sExpiresMin:
		return written(d.ExpiresMin)
	case sExpiresDefault:
		return written(d.ExpiresDefault)
	case sExpiresMax:
		return written(d.ExpiresMax)
	case sReauthenticate:
		return written(d.Reauthenticate)
	case sAddressChange:
		return d.AddressChange.String()
	case sRequireTrust:
		return d.RequireTrust.String()
	case sMaxContacts:
		return strconv.Itoa(d.MaxContacts)
	case sMaxDevices:
		return strconv.Itoa(d.MaxDevices)
	case sMaxUsers:
		return strconv.Itoa(d.MaxUsers)
	case sMultiLogin:
		return d.MultiLogin.String()
	case sIdle:
		return written(d.Idle)
	case sLongest:
		return written(d.Longest)
	case sGrace:
		return written(d.Grace)
	case sOffline:
		if d.Pending {
			return "pending"
		}
		return "refuse"
	}
	return ""
}

// Len is the number of rules.
func (p *Policy) Len() int {
	if p == nil {
		return 0
	}
	return len(p.rules)
}
