package turn

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Users gives the HA1 of an account in lower-case hex, as package auth has it.
type Users interface {
	HA1(name, realm string) (md5, sha256 string, ok bool)
}

// Credentials are what a client signs its requests with.
type Credentials struct {
	Username, Password string
	Life               time.Duration
}

// clock is wall time that a change of the clock does not alter while we run: what has expired stays so.
type clock struct{ start time.Time }

// now is the time that we have been running.
func (c clock) now() time.Duration { return time.Since(c.start) }

func (c clock) unix() int64 { return c.start.Add(c.now()).Unix() }

// Issue makes time-limited credentials for user, an address-of-record without its scheme: "EXPIRY:USER" and its HMAC, the form that is known as the TURN REST
// API. They are good for CredentialLife, as long as the account is there.
func (s *Server) Issue(user string) Credentials {
	name := strconv.FormatInt(s.clock.unix()+int64(CredentialLife/time.Second), 10) + ":" + user
	return Credentials{Username: name, Password: s.password(name), Life: CredentialLife}
}

func (s *Server) password(username string) string {
	mac := hmac.New(sha1.New, s.config.Secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// key returns the key of the long-term credential mechanism (RFC 8489, 9.2.2) and whose it is: of time-limited credentials, or of an account of our
// realm, whose MD5 HA1 is the same hash.
func (s *Server) key(username, realm string) (user string, key []byte, ok bool) {
	if realm != s.config.Realm || len(username) > userLength {
		return "", nil, false
	}
	expiry, name, limited := strings.Cut(username, ":")
	if !limited {
		ha1, _, ok := s.config.Users.HA1(username, realm)
		key, err := hex.DecodeString(ha1)
		return username + "@" + realm, key, ok && err == nil && len(key) == md5.Size
	}
	// No sign, no leading zeros, no blanks: one credential has one form.
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || strconv.FormatInt(until, 10) != expiry {
		return "", nil, false
	}
	// One that lasts longer than any that we hand out is not ours, or our clock was wrong.
	if left := until - s.clock.unix(); left <= 0 || left > int64(CredentialLife/time.Second) {
		return "", nil, false
	}
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return "", nil, false
	}
	if _, _, ok := s.config.Users.HA1(name[:at], name[at+1:]); !ok {
		return "", nil, false // the account is gone
	}
	sum := md5.Sum([]byte(username + ":" + realm + ":" + s.password(username)))
	return name, sum[:], true
}
