package registrar

import (
	"slices"
	"strings"
	"sync"
	"time"

	"signalbox/internal/transaction"
	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/location"
)

// A phone keeps a flow that it registers over UDP alive itself, and Flow-Timer says how often it must be heard (RFC 5626, 4.4.2 and 5.4). One that is silent for longer is asked, by an
// OPTIONS over the flow, which spares phones that are only careless. If that is not answered either the flow is dead: its bindings are lost at once, of whichever address, and calls go
// to the phone's next flow (RFC 5626, 7). The keep-alives that come after all are answered with an error, by which the phone learns that it must register anew.
//
// Connections need none of it: package transport closes those that are silent for too long, and their end loses the bindings (flows.go).
//
// A keep-alive is not signed. Whoever can send in a phone's name can delay that its death is noticed, no more: no binding lasts a second longer.

// Layer starts client transactions: the transaction layer.
type Layer interface {
	Start(o *transaction.Owner, req *wire.Request, to transport.Flow, u transaction.User) *transaction.Client
}

// flowWatch is a wheel with a slot for each second, up to the longest silence. A flow is in it once.
type flowWatch struct {
	timers *transaction.Owner

	mu      sync.Mutex
	running bool
	now     int // seconds
	slots   [maxSilence + 1][]wire.FlowID
	flows   map[wire.FlowID]*watched
}

// watched is a flow that its phone keeps alive.
type watched struct {
	users      // whose bindings use it
	heard int  // when
	asked bool // since
	dead  bool
}

// users are the addresses of a flow: one nearly always, thousands where a gateway registers its own over one.
type users struct {
	first  wire.AOR
	others map[wire.AOR]struct{}
}

func (u *users) add(aor wire.AOR) {
	if u.first == aor {
		return
	}
	if _, known := u.others[aor]; known {
		return
	}
	aor = wire.AOR{User: strings.Clone(aor.User), Host: aor.Host} // the user is a part of a message
	if u.first == (wire.AOR{}) {
		u.first = aor
		return
	}
	if u.others == nil {
		u.others = make(map[wire.AOR]struct{})
	}
	u.others[aor] = struct{}{}
}

func (u *users) all() []wire.AOR {
	list := append(make([]wire.AOR, 0, 1+len(u.others)), u.first)
	for aor := range u.others {
		list = append(list, aor)
	}
	return list
}

// keep leaves only these.
func (u *users) keep(aors []wire.AOR) {
	if len(aors) == 1+len(u.others) {
		return
	}
	*u = users{}
	for _, aor := range aors {
		u.add(aor)
	}
}

// keepsItself: a flow over UDP that ends here.
func keepsItself(b *location.Binding) bool {
	return b.RegID != 0 && len(b.Path) == 0 && b.Flow.Proto == wire.UDP
}

// add watches the flow of a binding. One that was dead is alive again when a REGISTER has come over it.
func (w *flowWatch) add(b *location.Binding, aor wire.AOR, turn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[b.Flow]
	switch {
	case f == nil && len(w.flows) >= maxWatched:
		return
	case f == nil:
		if w.flows == nil {
			w.flows = make(map[wire.FlowID]*watched)
		}
		f = &watched{heard: w.now, dead: !b.Usable()}
		w.flows[b.Flow] = f
		w.after(maxSilence, b.Flow)
	case f.dead && b.Usable():
		*f = watched{users: f.users, heard: w.now}
	}
	f.add(aor)
	if !w.running {
		w.running = true
		w.timers.After(time.Second, turn)
	}
}

// after gives a flow its next turn. The lock is held.
func (w *flowWatch) after(seconds int, id wire.FlowID) {
	at := (w.now + seconds) % len(w.slots)
	w.slots[at] = append(w.slots[at], id)
}

// hear notes that a flow lives; alive is false for one that is known to be dead.
func (w *flowWatch) hear(id wire.FlowID) (alive bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[id]
	if f == nil {
		return true
	}
	if !f.dead {
		f.heard, f.asked = w.now, false
	}
	return !f.dead
}

// next takes the flows whose turn it is. The wheel stops when it is empty.
func (w *flowWatch) next(turn func()) (due []wire.FlowID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.flows) == 0 {
		w.running = false
		return nil
	}
	w.timers.After(time.Second, turn)
	w.now++
	at := w.now % len(w.slots)
	due, w.slots[at] = w.slots[at], nil
	return due
}

// verdict is what is done about a flow at its turn.
type verdict uint8

const (
	leaveIt verdict = iota
	askIt
	loseIt
)

// judge decides about a flow that bindings of these addresses use, and gives it its next turn.
func (w *flowWatch) judge(id wire.FlowID, aors []wire.AOR) verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[id]
	if len(aors) == 0 {
		delete(w.flows, id)
		return leaveIt
	}
	f.keep(aors)
	silent := w.now - f.heard
	switch {
	case f.dead:
		w.after(maxSilence, id)
	case silent < maxSilence:
		w.after(maxSilence-silent, id)
	case !f.asked:
		f.asked = true
		w.after(lastChance, id)
		return askIt
	default:
		f.dead = true
		w.after(maxSilence, id)
		return loseIt
	}
	return leaveIt
}

// kill makes a flow dead and returns whose bindings use it; none if it is not watched, or dead already.
func (w *flowWatch) kill(id wire.FlowID) []wire.AOR {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[id]
	if f == nil || f.dead {
		return nil
	}
	f.dead = true
	return f.all()
}

func (w *flowWatch) isDead(id wire.FlowID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.flows[id]
	return f != nil && f.dead
}

func (w *flowWatch) whose(id wire.FlowID) []wire.AOR {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flows[id].all()
}

// KeptAlive hears of a keep-alive over UDP (transport.Config.KeptAlive); false is the answer to that of a dead flow.
func (r *Registrar) KeptAlive(id wire.FlowID) bool { return r.watch.hear(id) }

// FlowFailed hears from the network that nobody is at the other end of a flow (proxy.Config.FlowFailed). RFC 5626, 7
func (r *Registrar) FlowFailed(id wire.FlowID) {
	r.bury(id, r.watch.kill(id))
}

// bury loses the bindings of a dead flow, but for those that a REGISTER makes at this moment.
func (r *Registrar) bury(id wire.FlowID, aors []wire.AOR) {
	now := time.Now()
	for _, aor := range aors {
		r.loseFlow(aor, func(b *location.Binding) bool { return b.Flow == id && keepsItself(b) && b.Updated.Before(now) })
	}
}

// listen is one turn of the wheel.
func (r *Registrar) listen() {
	for _, id := range r.watch.next(r.listen) {
		var one *location.Binding
		aors := slices.DeleteFunc(r.watch.whose(id), func(aor wire.AOR) bool {
			b := r.carriedBy(id, aor)
			if b != nil {
				one = b
			}
			return b == nil
		})
		switch r.watch.judge(id, aors) {
		case askIt:
			r.ask(id, one)
		case loseIt:
			r.bury(id, aors)
		}
	}
}

// carriedBy is a binding of an address that uses a flow.
func (r *Registrar) carriedBy(id wire.FlowID, aor wire.AOR) *location.Binding {
	bindings := r.Location.Lookup(aor)
	for i := range bindings {
		if b := &bindings[i]; b.Flow == id && keepsItself(b) {
			return b
		}
	}
	return nil
}

// ask sends an OPTIONS whose answer, whatever it says, shows that the flow lives.
func (r *Registrar) ask(id wire.FlowID, b *location.Binding) {
	flow, ok := r.Network.Find(id)
	if !ok {
		return
	}
	m, err := wire.Parse(appendPing(make([]byte, 0, 512), flow, b.Contact, r.Domains.Primary()))
	if req, ok := m.(*wire.Request); err == nil && ok {
		a := asked{flow, &r.watch}
		r.Layer.Start(r.Timers, req, a, a)
	}
}

// asked is a flow on which an answer is awaited. Once it is dead nothing is sent to it any more.
type asked struct {
	transport.Flow
	watch *flowWatch
}

func (a asked) Send(b []byte) error {
	if a.watch.isDead(a.ID()) {
		return transport.ErrClosed
	}
	return a.Flow.Send(b)
}

func (a asked) ServeResponse(*transaction.Client, *wire.Response) { a.watch.hear(a.ID()) }
func (a asked) ServeFailure(*transaction.Client, error)           {} // the wheel comes by
