package transaction

import "signalbox/internal/wire"

// Merged tells whether another server transaction with the same From tag, Call-ID and CSeq but another branch is alive: the request has come twice, by different
// ways, and a UAS answers 482 (RFC 3261, 8.2.2.2). Only rooms that are a UAS for the request ask; the first call registers this transaction. A request with a To tag is never merged.
func (tx *Server) Merged() bool {
	m := tx.machine
	if m.merged != nil || tx.Request.To.Tag != "" || tx.Responded() {
		return false
	}
	k := mergedKey(tx.Request)
	hash, shard := m.layer.merged.lock(k)
	defer shard.mu.Unlock()
	if shard.find(hash, k, m.slot.method) != nil {
		return true
	}
	m.merged = new(slot[server])
	m.merged.fill(hash, k, m.slot.method, m)
	shard.add(m.merged)
	return false
}

func mergedKey(req *wire.Request) key {
	return key{branch: req.CallID, host: req.From.Tag, port: int(req.CSeq.Seq)}
}
