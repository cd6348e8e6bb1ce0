package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"time"
)

// nonces are good for one client and a while, and nothing is kept of them: each is the second it was made in and a signature of that and of the client's address and
// port (RFC 8489, 9.2.4; RFC 8656, 5). They are short, so that strangers are not answered with much more than they sent.
type nonces struct {
	key   [sha256.Size]byte // random, of this run
	clock clock
}

func (n *nonces) make(client netip.AddrPort) string {
	return n.of(uint32(n.clock.now()/time.Second), client)
}

// good tells whether a nonce is one of ours for that client, and not too old.
func (n *nonces) good(nonce string, client netip.AddrPort) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) < 4 {
		return false
	}
	made := binary.BigEndian.Uint32(b)
	age := n.clock.now() - time.Duration(made)*time.Second
	return age >= 0 && age <= nonceLife && hmac.Equal([]byte(nonce), []byte(n.of(made, client)))
}

func (n *nonces) of(made uint32, client netip.AddrPort) string {
	b := binary.BigEndian.AppendUint32(nil, made)
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(b)
	addr, _ := client.MarshalBinary()
	mac.Write(addr)
	return base64.RawURLEncoding.EncodeToString(append(b, mac.Sum(nil)[:8]...))
}
