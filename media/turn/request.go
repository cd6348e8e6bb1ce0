package turn

import (
	"net/netip"

	"github.com/pion/stun/v4"
)

// way is how a client is reached. It stands for the 5-tuple by which its allocation is found (RFC 8656, 5).
type way interface {
	send(frame []byte) // whole, at once or never; frame is the caller's again afterwards
	remote() netip.AddrPort
	allocation() *allocation
	assign(*allocation) bool // false if there is one already
	release(*allocation)     // if it is that one
	worker() *worker         // which reads what comes for it
}

// handle does what a client asks for, in a frame that the gate has let through.
func (s *Server) handle(k kind, b []byte, c way) {
	switch k {
	case isChannelData:
		if a := c.allocation(); a != nil {
			a.fromChannel(b)
		}
	case isIndication:
		if a := c.allocation(); a != nil {
			a.fromIndication(b)
		}
	case isRequest:
		if m, err := decode(b); err == nil {
			(&request{s: s, c: c, m: m}).serve()
		}
	}
}

// request is one that is being answered.
type request struct {
	s    *Server
	c    way
	m    *stun.Message
	user string // whose it is, when it has been authenticated
	key  stun.MessageIntegrity
}

// serve answers it (RFC 8489, 6.3.1; RFC 8656, 5).
func (r *request) serve() {
	if r.m.Type.Method == stun.MethodBinding {
		r.binding()
		return
	}
	if !r.authenticate() {
		return
	}
	if list := foreign(r.m); len(list) > 0 {
		r.refuse(stun.CodeUnknownAttribute, list)
		return
	}
	if r.m.Type.Method == stun.MethodAllocate {
		r.allocate()
		return
	}
	a := r.c.allocation()
	switch {
	case a == nil:
		r.refuse(stun.CodeAllocMismatch)
	case a.user.user != r.user: // The name may be another: credentials are renewed while the allocation lives.
		r.refuse(stun.CodeWrongCredentials)
	case r.m.Type.Method == stun.MethodRefresh:
		r.refresh(a)
	case r.m.Type.Method == stun.MethodCreatePermission:
		r.createPermission(a)
	case r.m.Type.Method == stun.MethodChannelBind:
		r.channelBind(a)
	default:
		r.refuse(stun.CodeBadRequest) // TCP to peers (RFC 6062), or nothing that we know
	}
}

// binding tells a client its address (RFC 8489, 6.3.1.1). Whoever asks is answered.
func (r *request) binding() {
	if list := foreign(r.m); len(list) > 0 {
		r.refuse(stun.CodeUnknownAttribute, list)
		return
	}
	r.succeed(address{stun.AttrXORMappedAddress, r.c.remote()})
}

// authenticate finds out whose request it is (RFC 8489, 9.2.4). It has answered if it is nobody's.
func (r *request) authenticate() bool {
	if !r.m.Contains(stun.AttrMessageIntegrity) {
		r.challenge(stun.CodeUnauthorized)
		return false
	}
	var name stun.Username
	var realm stun.Realm
	var nonce stun.Nonce
	if r.m.Parse(&name, &realm, &nonce) != nil {
		r.refuse(stun.CodeBadRequest)
		return false
	}
	// The standard looks at the nonce last. But a nonce that was not sent to this address proves nothing about who asks: what comes with one is no word about
	// passwords, to a guesser, to the log, or against the address, which may be forged.
	if !r.s.nonces.good(nonce.String(), r.c.remote()) {
		r.challenge(stun.CodeStaleNonce)
		return false
	}
	user, key, ok := r.s.key(name.String(), realm.String())
	if !ok || stun.MessageIntegrity(key).Check(r.m) != nil {
		r.s.badAuth(name.String(), r.c.remote())
		r.challenge(stun.CodeUnauthorized)
		return false
	}
	r.user, r.key = user, key
	return true
}

// challenge asks for credentials.
func (r *request) challenge(code stun.ErrorCode) {
	r.refuse(code, stun.NewRealm(r.s.config.Realm), stun.NewNonce(r.s.nonces.make(r.c.remote())))
}

func (r *request) refuse(code stun.ErrorCode, attributes ...stun.Setter) {
	r.answer(stun.ClassErrorResponse, append([]stun.Setter{code}, attributes...))
}

func (r *request) succeed(attributes ...stun.Setter) {
	r.answer(stun.ClassSuccessResponse, attributes)
}

// answer is signed if the request was.
func (r *request) answer(class stun.MessageClass, attributes []stun.Setter) {
	list := append([]stun.Setter{stun.NewTransactionIDSetter(r.m.TransactionID), stun.NewType(r.m.Type.Method, class)}, attributes...)
	list = append(list, stun.NewSoftware("Signalbox"))
	if r.key != nil {
		list = append(list, r.key)
	}
	if m, err := stun.Build(list...); err == nil {
		r.c.send(m.Raw)
	}
}
