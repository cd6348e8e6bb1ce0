package transaction

import (
	"runtime/debug"
	"sync"
	"time"
)

// Owner runs the events of one call one after the other: messages, timers and what other goroutines post. It is a queue without a goroutine: whoever posts to
// an idle owner runs the queue until it is empty. Nothing it runs may block. A panic costs the transaction that the owner belongs to: it is logged with its stack, the
// request gets 500 if it has no final response yet, and the owner goes on.
type Owner struct {
	layer  *Layer
	server *server // whose owner this is; nil for one from NewOwner

	mu    sync.Mutex
	busy  bool
	queue []event
}

// NewOwner returns an owner for client transactions that no request caused.
func (l *Layer) NewOwner() *Owner { return &Owner{layer: l} }

// event is something that happens to a machine. msg is a *wire.Request, a *wire.Response or an error; seq tells a timer's turns apart.
type event struct {
	to  recipient
	msg any
	seq uint32
}

type recipient interface{ receive(event) }

// call is a posted function, or what a user's timer runs.
type call func()

func (fn call) receive(event) { fn() }
func (fn call) expire()       { fn() }

// Do runs fn as the owner: at once if the owner is idle, else after what is queued. It never blocks and may be called from anywhere.
func (o *Owner) Do(fn func()) { o.post(event{to: call(fn)}) }

// After runs fn as the owner after d, from the layer's timing wheel: never early, at most 10 ms late. Stop is cheap; after Stop (called as the owner) fn does not run.
func (o *Owner) After(d time.Duration, fn func()) *Timer {
	t := &Timer{owner: o, to: call(fn)}
	t.start(o.layer.wheel.in(d))
	return t
}

// offer is post for a message from the network: it is lost when too much waits already.
func (o *Owner) offer(ev event) { o.add(ev, maxQueued) }

// post is for what must not be lost.
func (o *Owner) post(ev event) { o.add(ev, 0) }

func (o *Owner) add(ev event, limit int) {
	o.mu.Lock()
	if o.busy {
		if limit == 0 || len(o.queue) < limit {
			o.queue = append(o.queue, ev)
		}
		o.mu.Unlock()
		return
	}
	o.busy = true
	o.mu.Unlock()

	o.run(ev)
	o.drain()
}

// drain runs what was queued meanwhile and leaves the owner idle.
func (o *Owner) drain() {
	for {
		o.mu.Lock()
		waiting := o.queue
		o.queue = nil
		if len(waiting) == 0 {
			o.busy = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		for i := range waiting {
			o.run(waiting[i])
		}
	}
}

func (o *Owner) run(ev event) {
	defer o.rescue()
	ev.to.receive(ev)
}

// rescue keeps a panic within its call. The 500 is an event of its own, so that a panic on the way to it is caught as well.
func (o *Owner) rescue() {
	r := recover()
	if r == nil {
		return
	}
	o.layer.log.Error("transaction: panic", "panic", r, "stack", string(debug.Stack()))
	if m := o.server; m != nil && !m.rescued {
		m.rescued = true
		o.post(event{to: call(m.abort)})
	}
}
