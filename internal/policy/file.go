package policy

import (
	"strconv"
	"strings"
	"time"
)

// File is the policy file, key by key. The tag doc is what `signalbox policy schema` says about a key.
type File struct {
	Zone   string              `toml:"zone" doc:"time zone of the time windows, such as Europe/Berlin; the machine's when left out"`
	Groups map[string][]string `toml:"groups" doc:"names of users: alice, bob@example.org, or desk-* for all that begin so"`
	Rules  []Rule              `toml:"rule" doc:"read from the top; for each setting the first rule that holds counts"`
}

// Rule is one rule: when its conditions hold, its settings count.
type Rule struct {
	Name string `toml:"name" doc:"shown in logs and by policy try"`
	When When   `toml:"when" doc:"all of these must hold; a rule without conditions always holds"`

	Allow *bool `toml:"allow" doc:"true: no later rule denies this"`
	Deny  *Deny `toml:"deny" doc:"refuse"`

	ExpiresMin     Duration `toml:"expires_min" doc:"shortest registration; less gets 423"`
	ExpiresDefault Duration `toml:"expires_default" doc:"registration of a phone that asks for none"`
	ExpiresMax     Duration `toml:"expires_max" doc:"longest registration; more is cut"`
	Reauthenticate Duration `toml:"reauthenticate" doc:"how old the challenge may be that the credentials answer"`
	AddressChange  string   `toml:"address_change" doc:"when a registered phone comes from another address" enum:"allow,challenge,deny"`
	RequireTrust   string   `toml:"require_trust" doc:"refuse what is trusted less" enum:"password,tls,certificate"`

	MaxContacts *int     `toml:"max_contacts" doc:"contacts of a user"`
	MaxDevices  *int     `toml:"max_devices" doc:"devices of a user"`
	MaxUsers    *int     `toml:"max_users" doc:"users logged in on a device"`
	MultiLogin  string   `toml:"multi_login" doc:"a second device of the same user" enum:"allow,deny,auto-logout"`
	Idle        Duration `toml:"idle" doc:"a login without a call or message ends after this time"`
	Longest     Duration `toml:"longest" doc:"a login ends after this time"`
	Grace       Duration `toml:"grace" doc:"how long a login outlives the connection of its device"`
	Offline     string   `toml:"offline" doc:"a login by an administrator on a device that is not there" enum:"refuse,pending"`
}

// When is the conditions of a rule.
type When struct {
	Action    []string `toml:"action" doc:"register when left out" enum:"register,call,watch"`
	User      []string `toml:"user" doc:"who registers, calls or watches"`
	Group     []string `toml:"group" doc:"a group the user belongs to"`
	Target    []string `toml:"target" doc:"who is called or watched"`
	Device    []string `toml:"device" doc:"the device, by its name"`
	Kind      []string `toml:"kind" doc:"kind of the device; phone for those nobody has added"`
	Door      []string `toml:"door" doc:"how a user comes in: by own REGISTER, by that of a device, or by an administrator" enum:"own,device,admin"`
	Transport []string `toml:"transport" enum:"udp,tcp,tls,ws,wss"`
	NAT       *bool    `toml:"nat" doc:"behind NAT or not"`
	Source    []string `toml:"source" doc:"addresses or networks the request comes from, such as 192.0.2.0/24"`
	Trust     []string `toml:"trust" doc:"how the sender was proven" enum:"password,tls,certificate"`
	Time      string   `toml:"time" doc:"time of day, such as 08:00-18:00; may go past midnight"`
	Days      []string `toml:"days" doc:"days on which the time begins" enum:"mon,tue,wed,thu,fri,sat,sun"`
}

// Deny is how a request is refused.
type Deny struct {
	Code       int      `toml:"code" doc:"status code, 403 when left out"`
	Reason     string   `toml:"reason" doc:"reason phrase"`
	RetryAfter Duration `toml:"retry_after" doc:"the phone may try again then"`
}

// Duration is a time in the file: "90s", "15m", "8h", "7d". The zero value is one that the file does not have.
type Duration struct {
	time time.Duration
	text string // as it was written, where that is no time
	set  bool
}

// UnmarshalText reads it. What is no time is New's to refuse: it knows the place.
func (d *Duration) UnmarshalText(text []byte) error {
	*d = Duration{set: true}
	s := string(text)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseUint(n, 10, 16); err == nil {
			d.time = time.Duration(days) * 24 * time.Hour
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil || s == "0" {
		d.text = s
		return nil
	}
	d.time = v
	return nil
}
