package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/ladder/laddertest"
	"signalbox/internal/policy"
	"signalbox/internal/wire"
)

// ladderDevices reads what a ladder says about devices:
//
//	option devices tv=television lobby=phone     names and kinds
//	option grants tv=alice tv=bob                which device may log in whom
func ladderDevices(t *testing.T, env *laddertest.Env) *database.Devices {
	t.Helper()
	devices := database.NewDevices()
	each(env.Options["devices"], func(name, kind string) {
		if err := devices.Add(t.Context(), database.Device{AOR: wire.AOR{User: name, Host: env.Domain}, Kind: kind}); err != nil {
			t.Fatal(err)
		}
	})
	each(env.Options["grants"], func(device, user string) {
		g := database.Grant{Device: wire.AOR{User: device, Host: env.Domain}, User: wire.AOR{User: user, Host: env.Domain}}
		if err := devices.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	})
	return devices
}

// each takes "a=b c=d" apart.
func each(words string, fn func(name, value string)) {
	for _, word := range strings.Fields(words) {
		name, value, _ := strings.Cut(word, "=")
		fn(name, value)
	}
}

// ladderPolicy reads a policy of testdata/policy.
func ladderPolicy(t *testing.T, env *laddertest.Env, name string) *policy.Policy {
	t.Helper()
	p, err := loadPolicy(filepath.Join("testdata", "policy", name+".toml"), wire.NewDomains([]string{env.Domain}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lead is how long a ladder's server runs before the ladder begins: phones register then.
const lead = time.Minute

// playAdministrator does what a ladder says an administrator does:
//
//	option logins alice=tv,10s,20s          logs alice in on tv from second 10 to 20; 0s is now, and for ever
//	option reload 60s=strict                another policy
func playAdministrator(t *testing.T, env *laddertest.Env, c *core, box *policyBox) {
	t.Helper()
	each(env.Options["logins"], func(user, spec string) {
		part := strings.Split(spec, ",")
		at := func(s string) (when time.Time) {
			if d, err := time.ParseDuration(s); err != nil {
				t.Fatal(err)
			} else if d > 0 {
				when = time.Now().Add(lead + d)
			}
			return when
		}
		l := database.Login{User: wire.AOR{User: user, Host: env.Domain}, Device: wire.AOR{User: part[0], Host: env.Domain}, Start: at(part[1]), End: at(part[2])}
		if err := c.logins.Login(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	})
	each(env.Options["reload"], func(after, name string) {
		d, err := time.ParseDuration(after)
		if err != nil {
			t.Fatal(err)
		}
		fresh := ladderPolicy(t, env, name)
		time.AfterFunc(lead+d, func() {
			if _, err := c.logins.Apply(context.Background(), box.now.Swap(fresh), fresh); err != nil {
				t.Error(err)
			}
		})
	})
}
