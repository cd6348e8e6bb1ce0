package registrar

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"signalbox/internal/auth"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Tokens makes session tokens.
type Tokens interface {
	SessionToken(s auth.Session, end time.Time) string
}

// answerSession gives a token for this login to a phone that asks for one, where nobody else can read it: no proxy, and no wire but this machine's own. It names the instance,
// so it is good over any flow of it, and ends with its registration.
func (g *registration) answerSession(res *wire.Response, bindings []location.Binding, now time.Time) {
	from := g.tx.Flow.ID()
	if g.options&wantsSession == 0 || g.Tokens == nil || len(g.path) > 0 || !from.Proto.Secure() && !from.Remote.Addr().Unmap().IsLoopback() {
		return
	}
	if user := (wire.AOR{User: g.identity.User, Host: g.identity.Realm}); user != g.aor {
		return // a device that logs a user in is no user
	}
	for i := range g.contacts {
		if at := g.contacts[i].find(bindings); at >= 0 {
			b := &bindings[at]
			if token := g.Tokens.SessionToken(auth.Session{User: g.aor.User, Realm: g.aor.Host, Phone: phoneOf(b), Since: now, From: from.Remote.Addr()}, b.Expires); token != "" {
				wire.Add(res, "Session-Token", token)
				wire.Add(res, "Cache-Control", "no-store")
			}
			return
		}
	}
}

// phoneOf names the phone of a binding.
func phoneOf(b *location.Binding) string {
	name := b.InstanceID
	if name == "" {
		name = b.Contact.Raw
	}
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Lasts tells whether a session's login is still there: some binding of its phone, which has not ended since the token was given out. Tokens count whole seconds.
func Lasts(l Location, s auth.Session) bool {
	for _, b := range l.Lookup(wire.AOR{User: s.User, Host: s.Realm}) {
		if phoneOf(&b) == s.Phone && b.Created.Before(s.Since.Add(time.Second)) {
			return true
		}
	}
	return false
}
