package transaction

import (
	"sync/atomic"
	"time"
)

// failureLog bounds what is logged about requests that failed: one line in failureEvery, which counts those that had none.
type failureLog struct {
	last    atomic.Int64 // nanoseconds from the wheel's begin
	unnamed atomic.Int64
}

// failed logs an error that no room has thought of: a defect, or a part of the machine that is broken. What a room answers with a *wire.Error is the peer's doing, or logged
// where it came from.
func (l *Layer) failed(method string, err error) {
	f := &l.failures
	now, last := int64(time.Since(l.wheel.begin))+1, f.last.Load()
	if last != 0 && now-last < int64(failureEvery) || !f.last.CompareAndSwap(last, now) {
		f.unnamed.Add(1)
		return
	}
	l.log.Error("transaction: request failed", "method", method, "err", err, "more_since_last", f.unnamed.Swap(0))
}
