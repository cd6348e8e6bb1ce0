package transaction

import (
	"hash/maphash"
	"strconv"

	"signalbox/internal/wire"
)

// When many transactions are kept we are a stateless UAS to strangers (RFC 3261, 8.2.7 and 26.3.2.4): who has shown no credentials is challenged once for each request it
// sends, and nothing is kept of it. So a flood of requests without credentials, from addresses forged or not, fills no memory that honest requests need. As long as there is
// plenty of it a retransmission hears the very same challenge.

// firstChallenge tells whether a response asks for credentials where none were shown, and is not to be kept. Within a dialog the To tag, by which we know the ACK, is not ours
// to choose; and a client that has heard a 100 sends its INVITE no more.
func (m *server) firstChallenge(req *wire.Request, code int) bool {
	return (code == 401 || code == 407) && req.To.Tag == "" && m.last == nil && m.layer.crowded() && !hasCredentials(req)
}

// crowded tells whether a good part of the transactions that may be are alive.
func (l *Layer) crowded() bool {
	return int(l.aliveServers.Load()+l.aliveClients.Load()) > l.config.Limits.Transactions/crowdedShare
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
