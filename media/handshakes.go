package media

import (
	"sync"
	"time"
)

// handshakes counts those of DTLS. Each leaves some 100 KB of garbage, and the collector of a calm program would come for it in hours. Until then what a call keeps, 20 KB, lies scattered
// among it, and holds on to the pages that it lies on. So garbage is collected as handshakes go on, which lets the next ones have the room of the last;
// and when many are over and none is left, their memory goes back to the system.
type handshakes struct {
	mu       sync.Mutex
	running  int
	begun    int // since garbage was collected
	ended    int // since memory was given back
	busy     bool
	next     time.Time
	collect  func() // runtime.GC
	giveBack func() // debug.FreeOSMemory
}

func (h *handshakes) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running++
	if h.begun++; h.begun >= collectAfter && h.may() {
		h.begun = 0
		h.run(h.collect)
	}
}

func (h *handshakes) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running--
	if h.ended++; h.running == 0 && h.ended >= releaseAfter && h.may() {
		h.begun, h.ended = 0, 0
		h.run(h.giveBack)
	}
}

func (h *handshakes) may() bool { return !h.busy && !time.Now().Before(h.next) }

// run does it, and sees to it that this takes no more than its share of the time.
func (h *handshakes) run(do func()) {
	h.busy = true
	go func() {
		began := time.Now()
		do()
		now := time.Now()
		h.mu.Lock()
		h.busy, h.next = false, now.Add(collectShare*now.Sub(began))
		h.mu.Unlock()
	}()
}
