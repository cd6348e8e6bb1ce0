package policy

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"signalbox/internal/wire"
)

// Action is what somebody wants to do.
type Action uint8

const (
	Register Action = iota // be registered, or logged in on a device
	Call                   // send a request to somebody
	Watch                  // subscribe to the registrations of somebody
)

// Door is how a user comes in.
type Door uint8

const (
	Own      Door = iota // by a REGISTER with the user's credentials
	ByDevice             // by the device's REGISTER in the user's name
	ByAdmin              // by an administrator
)

// Trust is how well a sender is proven; each level includes those before it.
type Trust uint8

const (
	Password    Trust = iota // Digest
	TLS                      // Digest over TLS or WSS
	Certificate              // a client certificate that names the device
)

// AddressChange is what happens when a registered phone comes from another address.
type AddressChange uint8

const (
	Allow     AddressChange = iota
	Challenge               // it must answer a challenge that was sent to the new address
	Refuse
)

// MultiLogin is what happens when a user comes with a second device.
type MultiLogin uint8

const (
	Several    MultiLogin = iota
	One                   // the second is refused
	AutoLogout            // the first is logged out
)

var (
	actions        = []string{"register", "call", "watch"}
	doors          = []string{"own", "device", "admin"}
	trusts         = []string{"password", "tls", "certificate"}
	addressChanges = []string{"allow", "challenge", "deny"}
	multiLogins    = []string{"allow", "deny", "auto-logout"}
)

func (a Action) String() string        { return actions[a] }
func (d Door) String() string          { return doors[d] }
func (t Trust) String() string         { return trusts[t] }
func (a AddressChange) String() string { return addressChanges[a] }
func (m MultiLogin) String() string    { return multiLogins[m] }

// PhoneKind is the kind of a device that nobody has added: a plain softphone.
const PhoneKind = "phone"

// Facts are what is known about a request.
type Facts struct {
	Action Action
	User   wire.AOR
	Target wire.AOR // of Call and Watch; the zero value when it is nobody of ours
	Device wire.AOR // the zero value for a device that nobody has added
	Kind   string   // of the device
	Door   Door
	Trust  Trust
	Now    time.Time

	// Where the request comes from. An administrator's login on a device that is offline has no such place: conditions on it do not hold then.
	Offline bool
	Proto   wire.Proto
	NAT     bool
	Source  netip.Addr
}

// Denial is a refusal.
type Denial struct {
	Code       int
	Reason     string
	RetryAfter time.Duration // 0: no use to try again
	Rule       string        // which rule says so
	Err        error         // why the rules could not be evaluated
}

// Error is what the peer is answered.
func (d *Denial) Error() *wire.Error {
	err := d.Err
	if err == nil {
		err = fmt.Errorf("policy: denied by %s", d.Rule)
	}
	e := &wire.Error{Code: d.Code, Reason: d.Reason, Err: err}
	if d.RetryAfter > 0 {
		e = e.With("Retry-After", fmt.Sprint(int64(d.RetryAfter/time.Second)))
	}
	return e
}

// Decision is what the rules say. Zero values are settings that no rule has.
type Decision struct {
	Deny *Denial

	ExpiresMin, ExpiresDefault, ExpiresMax time.Duration
	Reauthenticate                         time.Duration
	AddressChange                          AddressChange
	RequireTrust                           Trust

	MaxContacts, MaxDevices, MaxUsers int
	MultiLogin                        MultiLogin
	Idle, Longest, Grace              time.Duration
	Pending                           bool // a login on a device that is offline waits for it
}

// setting names one field of a Decision.
type setting uint8

const (
	sDecided setting = iota // allow or deny
	sExpiresMin
	sExpiresDefault
	sExpiresMax
	sReauthenticate
	sAddressChange
	sRequireTrust
	sMaxContacts
	sMaxDevices
	sMaxUsers
	sMultiLogin
	sIdle
	sLongest
	sGrace
	sOffline
	settings
)

var settingNames = [settings]string{"decision", "expires_min", "expires_default", "expires_max", "reauthenticate", "address_change", "require_trust",
	"max_contacts", "max_devices", "max_users", "multi_login", "idle", "longest", "grace", "offline"}

// Policy is a checked file. It never changes.
type Policy struct {
	rules []rule
}

// rule is a compiled rule.
type rule struct {
	name  string
	when  conditions
	has   uint32 // bit set of settings
	allow bool
	deny  Denial
	set   Decision
}

// Turned tells whether a time window of some rule opens or closes between two times: decisions may change then, and at no other time.
func (p *Policy) Turned(from, to time.Time) bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.rules, func(r rule) bool {
		w := r.when.window
		return w != nil && w.contains(from) != w.contains(to)
	})
}

// Decide evaluates the rules. A nil Policy has none.
func (p *Policy) Decide(f *Facts) Decision { return p.decide(f, nil) }

// decide writes the number of the rule that each setting comes from into from, if that is not nil.
func (p *Policy) decide(f *Facts, from *[settings]int) (d Decision) {
	if p == nil {
		return unruled(f)
	}
	// A mistake of ours in here must not let anybody in.
	defer func() {
		if v := recover(); v != nil {
			d = Decision{Deny: failed("", fmt.Errorf("policy: panic: %v", v))}
		}
	}()
	var have uint32
	for i := range p.rules {
		r := &p.rules[i]
		news := r.has &^ have
		if news == 0 {
			continue
		}
		holds, err := r.when.hold(f)
		if err != nil {
			return Decision{Deny: failed(r.name, err)}
		}
		if !holds {
			continue
		}
		have |= news
		r.apply(&d, news)
		for s := range settings {
			if from != nil && news&(1<<s) != 0 {
				from[s] = i + 1
			}
		}
	}
	if have&(1<<sDecided) == 0 {
		d.Deny = unruled(f).Deny
	}
	if d.Deny == nil && f.Action == Register && !f.Offline && f.Trust < d.RequireTrust {
		d.Deny = &Denial{Code: 403, Reason: d.RequireTrust.demand(), Rule: p.requiring(f)}
	}
	return d
}

// unruled is the decision where no rule says anything: who has proven who they are may register and call, and watch themselves.
func unruled(f *Facts) (d Decision) {
	if f.Action == Watch && f.Target != f.User {
		d.Deny = &Denial{Code: 403, Rule: "default"}
	}
	return d
}

// failed is the denial for rules that could not be evaluated: what is not known to be allowed is denied.
func failed(rule string, err error) *Denial {
	return &Denial{Code: 500, Reason: "Policy Cannot Be Evaluated", Rule: rule, Err: fmt.Errorf("policy: %s: %w", rule, err)}
}

// requiring is the rule that the demand for trust comes from.
func (p *Policy) requiring(f *Facts) string {
	for i := range p.rules {
		if holds, err := p.rules[i].when.hold(f); p.rules[i].has&(1<<sRequireTrust) != 0 && holds && err == nil {
			return p.rules[i].name
		}
	}
	return ""
}

func (t Trust) demand() string {
	if t == Certificate {
		return "Client Certificate Required"
	}
	return "TLS Required"
}

// apply copies the settings of a rule that no rule before it has.
func (r *rule) apply(d *Decision, news uint32) {
	s := &r.set
	for left := news; left != 0; left &= left - 1 {
		switch setting(bits.TrailingZeros32(left)) {
		case sDecided:
			if !r.allow {
				d.Deny = &r.deny
			}
		case sExpiresMin:
			d.ExpiresMin = s.ExpiresMin
		case sExpiresDefault:
			d.ExpiresDefault = s.ExpiresDefault
		case sExpiresMax:
			d.ExpiresMax = s.ExpiresMax
		case sReauthenticate:
			d.Reauthenticate = s.Reauthenticate
		case sAddressChange:
			d.AddressChange = s.AddressChange
		case sRequireTrust:
			d.RequireTrust = s.RequireTrust
		case sMaxContacts:
			d.MaxContacts = s.MaxContacts
		case sMaxDevices:
			d.MaxDevices = s.MaxDevices
		case sMaxUsers:
			d.MaxUsers = s.MaxUsers
		case sMultiLogin:
			d.MultiLogin = s.MultiLogin
		case sIdle:
			d.Idle = s.Idle
		case sLongest:
			d.Longest = s.Longest
		case sGrace:
			d.Grace = s.Grace
		case sOffline:
			d.Pending = s.Pending
		}
	}
}

// errUnknown: a rule asks for what is not known.
var errUnknown = errors.New("a condition asks for what is not known about the request")
