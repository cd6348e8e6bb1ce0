package laddertest

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"
)

// challenge is one Digest challenge that a phone has been given (RFC 7616, 3.3).
type challenge struct {
	header    string // Authorization or Proxy-Authorization
	realm     string
	nonce     string
	opaque    string
	algorithm string
	qop       bool
	cnonce    string
	count     int // requests sent with this nonce
}

// readChallenges takes, for each realm, the first challenge that the phone understands (RFC 8760, 2.4).
func readChallenges(res *message) (list []*challenge) {
	seen := make(map[string]bool)
	for _, kind := range []struct{ offer, answer string }{
		{"WWW-Authenticate", "Authorization"},
		{"Proxy-Authenticate", "Proxy-Authorization"},
	} {
		for _, value := range res.lines(kind.offer) {
			scheme, rest, _ := strings.Cut(value, " ")
			if !strings.EqualFold(scheme, "Digest") {
				continue
			}
			p := digestParams(rest)
			c := &challenge{
				header: kind.answer, realm: p["realm"], nonce: p["nonce"], opaque: p["opaque"],
				algorithm: p["algorithm"], qop: strings.Contains(p["qop"], "auth"), cnonce: "0a4f113b",
			}
			if c.hash() != nil && !seen[kind.answer+c.realm] {
				seen[kind.answer+c.realm] = true
				list = append(list, c)
			}
		}
	}
	return list
}

func digestParams(s string) map[string]string {
	params := make(map[string]string)
	for _, pair := range splitList(s) {
		name, value, _ := strings.Cut(pair, "=")
		params[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return params
}

func (c *challenge) hash() func() hash.Hash {
	switch strings.ToUpper(c.algorithm) {
	case "", "MD5":
		return md5.New
	case "SHA-256":
		return sha256.New
	}
	return nil
}

// answer is the value of the Authorization header (RFC 7616, 3.4).
func (c *challenge) answer(user, password, method, uri string) string {
	h := func(s string) string {
		d := c.hash()()
		d.Write([]byte(s))
		return fmt.Sprintf("%x", d.Sum(nil))
	}
	c.count++
	ha1 := h(user + ":" + c.realm + ":" + password)
	ha2 := h(method + ":" + uri)
	value := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, user, c.realm, c.nonce, uri)
	if c.qop {
		nc := fmt.Sprintf("%08x", c.count)
		response := h(ha1 + ":" + c.nonce + ":" + nc + ":" + c.cnonce + ":auth:" + ha2)
		value += fmt.Sprintf(`, response="%s", qop=auth, nc=%s, cnonce="%s"`, response, nc, c.cnonce)
	} else {
		value += fmt.Sprintf(`, response="%s"`, h(ha1+":"+c.nonce+":"+ha2))
	}
	if c.algorithm != "" {
		value += ", algorithm=" + c.algorithm
	}
	if c.opaque != "" {
		value += fmt.Sprintf(`, opaque="%s"`, c.opaque)
	}
	return value
}
