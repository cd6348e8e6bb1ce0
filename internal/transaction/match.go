package transaction

import (
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

// magicCookie begins the branch of every client that follows RFC 3261 (RFC 3261, 8.1.1.7).
const magicCookie = "z9hG4bK"

// compliant tells whether the branch is unique across all transactions of its client. The bare cookie, which some send, is not.
func compliant(branch string) bool {
	return len(branch) > len(magicCookie) && strings.HasPrefix(branch, magicCookie)
}

// requestKey is what a request's server transaction is found by: branch and sent-by (RFC 3261, 17.2.3). They are compared byte by byte: a
// retransmission is the same bytes, and so is the Via of an ACK or a CANCEL.
func requestKey(req *wire.Request) key {
	if compliant(req.Via.Branch) {
		return key{req.Via.Branch, req.Via.Host, req.Via.Port}
	}
	return oldKey(req, req.To.Tag)
}

// oldKey is for clients of RFC 2543, whose branch says nothing: Request-URI, tags, Call-ID, CSeq number and top Via are compared (RFC 3261, 17.2.3).
// The parts are put into one string, apart by a byte that no header value holds.
func oldKey(req *wire.Request, toTag string) key {
	return key{branch: strings.Join([]string{
		req.CallID, strconv.FormatUint(uint64(req.CSeq.Seq), 10), req.From.Tag, toTag, req.URI.Raw, req.Via.Raw,
	}, "\x00")}
}

// findINVITE returns the INVITE server transaction that an ACK belongs to (RFC 3261, 17.2.3), or nil: then it acknowledges a 2xx.
func (l *Layer) findINVITE(ack *wire.Request) *server {
	if compliant(ack.Via.Branch) {
		return l.servers.find(requestKey(ack), "INVITE")
	}
	// The To tag of an old client's ACK is that of our response; its INVITE had the same one within a dialog, none outside.
	if m := l.servers.find(oldKey(ack, ack.To.Tag), "INVITE"); m != nil || ack.To.Tag == "" {
		return m
	}
	return l.servers.find(oldKey(ack, ""), "INVITE")
}

// responseKey is what a response's client transaction is found by: the branch, which is ours (RFC 3261, 17.1.3).
func responseKey(branch string) key { return key{branch: branch} }
