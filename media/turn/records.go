package turn

import (
	"net"
	"sync"
)

// records is the TCP connection below TLS. It lets records gather, so that many frames, each a record, are one system call. It has a lock because TLS may
// write of its own accord at any time.
type records struct {
	net.Conn
	mu        sync.Mutex
	gathering bool
	pending   []byte
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gathering {
		return r.Conn.Write(b)
	}
	r.pending = append(r.pending, b...)
	if len(r.pending) < gatherSize {
		return len(b), nil
	}
	return len(b), r.empty()
}

// gather makes writes wait for flush, or until they are gatherSize.
func (r *records) gather() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = true
}

func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathering = false
	return r.empty()
}

func (r *records) empty() error {
	_, err := r.Conn.Write(r.pending)
	r.pending = r.pending[:0]
	return err
}
