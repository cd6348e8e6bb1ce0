package media

import (
	"sync"
	"time"
)

// handshakes counts those of DTLS that are under way. Each needs some 150 KB, which the garbage collector of a calm program would leave resident for hours: when many are over
// and none is left, their memory goes back to the system.
type handshakes struct {
	mu      sync.Mutex
	running int
	ended   int // since memory was given back
	next    time.Time
	release func() // debug.FreeOSMemory
}

func (h *handshakes) begin() {
	h.mu.Lock()
	h.running++
	h.mu.Unlock()
}

func (h *handshakes) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running--
	h.ended++
	if h.running > 0 || h.ended < releaseAfter || time.Now().Before(h.next) {
		return
	}
	h.ended, h.next = 0, time.Now().Add(releaseEvery)
	go h.release()
}
