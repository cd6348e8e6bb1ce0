package transaction

import (
	"hash/maphash"
	"strconv"

	"signalbox/internal/wire"
)

// To strangers we are a stateless UAS (RFC 3261, 8.2.7): who has shown no credentials is challenged once for each request it sends, and nothing is kept of it. So a flood
// of requests without credentials, from addresses forged or not, costs no memory, and the first half of every honest request costs less (RFC 3261, 26.3.2.4).

// firstChallenge tells whether a response asks for credentials where none were shown. Within a dialog the To tag, by which we know the ACK, is not ours to choose; and a client
// that has heard a 100 sends its INVITE no more.
func (m *server) firstChallenge(req *wire.Request, code int) bool {
	return (code == 401 || code == 407) && req.To.Tag == "" && m.last == nil && !hasCredentials(req)
}

// forget ends the transaction with its final response: a retransmission of the request is challenged anew.
func (m *server) forget(tx *Server, res *wire.Response) {
	m.terminate()
	m.report(tx, res.StatusCode)
}

// refusalTag is the To tag of what we answer statelessly: the same for each retransmission, and nobody else can know it beforehand (RFC 3261, 8.2.7).
func (l *Layer) refusalTag(req *wire.Request) string {
	return strconv.FormatUint(l.refusalHash(req), 36)
}

func (l *Layer) refusalHash(req *wire.Request) uint64 {
	return maphash.String(l.servers.seed, req.CallID)
}

// toRefusal tells whether an ACK is for something that we answered statelessly: nothing is left that it could be matched with.
func (l *Layer) toRefusal(ack *wire.Request) bool {
	n, err := strconv.ParseUint(ack.To.Tag, 36, 64)
	return err == nil && n == l.refusalHash(ack)
}
