package database

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// User is an account. Only HA1 values are stored (RFC 7616, 3.4.2), for both algorithms; an imported account may have one only.
type User struct {
	Name, Domain string
	MD5, SHA256  string // HA1 in lower-case hex; "" when unknown
	Created      int64  // Unix seconds
}

var (
	ErrExists   = errors.New("database: the user exists already")
	ErrNotFound = errors.New("database: no such user")
	ErrPassword = errors.New("database: the password is empty, too long, or not text")
)

// NewUser makes an account from a password, which is hashed and forgotten. The domain, which is the realm, is put into lower case first.
func NewUser(name, domain, password string) (User, error) {
	if password == "" || len(password) > MaxPassword || !printable(password) {
		return User{}, ErrPassword
	}
	u := User{Name: name, Domain: strings.ToLower(domain), Created: time.Now().Unix()}
	u.MD5, u.SHA256 = HA1(u.Name, u.Domain, password)
	return u, u.Validate()
}

// Validate tells what is wrong with the account. Names are otherwise taken and stored literally, whatever characters they have.
func (u User) Validate() error {
	switch {
	case u.Name == "":
		return errors.New("the user name is empty")
	case len(u.Name) > MaxName:
		return fmt.Errorf("the user name has %d bytes, more than %d", len(u.Name), MaxName)
	case !printable(u.Name):
		return fmt.Errorf("the user name %q has characters that cannot be printed", u.Name)
	case strings.Contains(u.Name, ":"):
		// The hashed text is "name:realm:password": a colon in the name makes two accounts one. RFC 7616, 3.4.2
		return fmt.Errorf("the user name %q has a colon", u.Name)
	case u.Domain == "" || len(u.Domain) > MaxDomain || !printable(u.Domain) || strings.ContainsAny(u.Domain, " @"):
		return fmt.Errorf("%q is not a domain", u.Domain)
	case u.Domain != strings.ToLower(u.Domain):
		return fmt.Errorf("the domain %q is not in lower case", u.Domain)
	case u.MD5 == "" && u.SHA256 == "":
		return fmt.Errorf("user %q has neither password nor hash", u.Name)
	case u.MD5 != "" && !isHash(u.MD5, md5.Size):
		return fmt.Errorf("user %q: the MD5 hash is not %d lower-case hex digits", u.Name, 2*md5.Size)
	case u.SHA256 != "" && !isHash(u.SHA256, sha256.Size):
		return fmt.Errorf("user %q: the SHA-256 hash is not %d lower-case hex digits", u.Name, 2*sha256.Size)
	}
	return nil
}

// HA1 of a password, for both algorithms: the hash of name:realm:password (RFC 7616, 3.4.2).
func HA1(name, realm, password string) (md5Hex, sha256Hex string) {
	a1 := []byte(name + ":" + realm + ":" + password)
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	return hex.EncodeToString(m[:]), hex.EncodeToString(s[:])
}

// printable refuses what could end a line of a log or a header: control characters, and bytes that are not UTF-8.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

func isHash(s string, size int) bool {
	return len(s) == 2*size && strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}
