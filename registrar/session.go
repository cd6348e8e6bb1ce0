package registrar

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
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
			s := auth.Session{
				User: g.aor.User, Realm: g.aor.Host, Phone: phoneOf(b.InstanceID, b.Contact.Raw), Serial: b.Session + 1,
				Since: now, Proven: now.Add(-g.Auth.Age(g.identity)), From: from.Remote.Addr(),
			}
			if token := g.Tokens.SessionToken(s, b.Expires); token != "" {
				wire.Add(res, "Session-Token", token)
				wire.Add(res, "Cache-Control", "no-store")
			}
			return
		}
	}
}

// phoneOf names a phone: by its instance, without one by its contact.
func phoneOf(instance, contact string) string {
	sum := sha256.Sum256([]byte(cmp.Or(instance, contact)))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// isOf tells whether a binding is one of a session's phone.
func isOf(b *location.Binding, s *auth.Session) bool {
	return phoneOf(b.InstanceID, b.Contact.Raw) == s.Phone
}

// staysWithin wants the password of who registers a phone with another one's session token: a token that was stolen would have tokens of its own from then on, and nobody would notice.
func (g *registration) staysWithin(c *contact) error {
	if s := g.identity.Session; s != nil && c.interval > 0 && phoneOf(c.instance, c.uri.Raw) != s.Phone {
		return g.again()
	}
	return nil
}

// shown is the serial number of the newest session token that a contact's phone has shown, with this request or before.
func (g *registration) shown(bindings []location.Binding, c *contact) (serial uint32) {
	if s := g.identity.Session; s != nil {
		serial = s.Serial
	}
	for i := range bindings {
		if b := &bindings[i]; b.Session > serial && phoneOf(b.InstanceID, b.Contact.Raw) == phoneOf(c.instance, c.uri.Raw) {
			serial = b.Session
		}
	}
	return serial
}

// Accepts tells whether a session token is good: some binding of its phone is there which is not younger than the token, and the phone has not shown a later one. If it has, there are two who
// have the session's tokens, and nobody can tell which of them is the user's phone: it ends, revoked is called, and the password is needed (RFC 6749, 10.4).
func Accepts(l Location, s auth.Session, revoked func()) bool {
	aor := wire.AOR{User: s.User, Host: s.Realm}
	there, newest := false, s.Serial
	for _, b := range l.Lookup(aor) {
		if isOf(&b, &s) && b.Created.UnixMilli() <= s.Since.UnixMilli() {
			there, newest = true, max(newest, b.Session)
		}
	}
	if there && newest > s.Serial {
		l.Change(aor, location.Deactivated, func(now []location.Binding) ([]location.Binding, error) {
			return slices.DeleteFunc(slices.Clone(now), func(b location.Binding) bool { return isOf(&b, &s) }), nil
		}, func([]location.Binding, error) {})
		revoked()
		return false
	}
	return there
}
