package proxy

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/auth"
	"signalbox/internal/policy"
	"signalbox/internal/transaction"
	"signalbox/internal/wire"
)

// call is the response context of RFC 3261, 16.7: one request, the branches it was forwarded on, and what came back. It belongs to the
// owner of its server transaction.
type call struct {
	p     *Proxy
	tx    *transaction.Server
	owner *transaction.Owner
	req   *wire.Request // as received, never changed; nil when the search is over
	via   string        // the branch it came with
	rings bool          // an INVITE: only that rings, is cancelled and has Timer C
	facts facts
	vias  int
	mark  loopMark

	// What 16.4 made of the request.
	uri      wire.URI // its Request-URI
	routes   []string // the Route values that remain
	popped   int      // topmost Route values that were ours
	rerouted bool     // popping alone does not make routes: a strict router sent the request
	dialog   dialog

	aor wire.AOR // whose phones it is for, the zero value when it is for none of ours

	// What it has to do with a domain whose edge proxy we are.
	edge     edgeRole
	edgeFlow wire.FlowID // edgeIn: to the phone
	path, ob bool        // a REGISTER that gets a Path, as that of an outbound phone

	// Who sent it.
	user     wire.AOR // authenticated, the zero value otherwise
	stranger bool     // let in without authentication

	// The response context.
	breadth  int      // Max-Breadth that is not in use. RFC 5393, 5.3.2
	spare    int      // more of it, for targets that join
	targets  []target // not tried yet, by falling q
	q        int      // of those that are being tried
	branches []*branch
	pending  int     // branches without a final response
	finals   []final // responses to choose the best of. RFC 3261, 16.7 step 4
	ring     *transaction.Timer

	// Its place among the calls that new contacts join.
	listens        bool
	earlier, later *call

	// Of a call whose media is bridged. The legs differ in a request within the dialog only.
	anchored           *anchored
	mediaFrom, mediaTo int
	offered            bool // the request carries a session description

	advancing bool // advance is running
	closed    bool // no new branches
	cancelled bool // the caller gave up
	noCancel  bool // the caller wants to hear every 2xx. RFC 3841, 9.1
	responded bool // a final response was sent

	// Room for the usual call of one branch, so that it needs no memory of its own.
	oneTarget [1]target
	oneBranch [1]*branch
	oneFinal  [1]final
	first     branch
}

func (p *Proxy) newCall(tx *transaction.Server) *call {
	req := tx.Request
	c := &call{p: p, tx: tx, owner: tx.Owner(), req: req, via: req.Via.Branch, rings: req.Method == sip.INVITE, uri: req.URI}
	c.facts, c.vias = survey(tx.Request.Headers())
	c.branches = c.oneBranch[:0]
	c.finals = c.oneFinal[:0]
	return c
}

// letGo forgets what a search that is over does not need. The transaction layer keeps the call for 32 s more, for further 2xx of an INVITE
// (RFC 6026, 7.2): those need where to send them and the Via to compare.
func (c *call) letGo() {
	if c.req == nil || !c.rings {
		return
	}
	c.via = strings.Clone(c.via)
	for _, b := range c.branches {
		if b.client != nil {
			b.client.Request = nil
		}
		b.t, b.hops, b.client = nil, nil, nil
	}
	c.tx.Request, c.req = nil, nil
	c.uri, c.routes, c.dialog, c.finals, c.targets = wire.URI{}, nil, dialog{}, nil, nil
	c.oneTarget, c.oneFinal = [1]target{}, [1]final{}
}

// authenticate proves the sender to be a user of ours and the owner of the From address: 407, or 403. RFC 3261, 22.3
func (c *call) authenticate() error {
	from := c.req.From.URI
	realm, local := c.p.Domains.Domain(from.Host)
	if !local || !from.IsSIP() {
		realm = c.p.Domains.Primary()
	}
	aor, ok := c.p.Domains.AOR(from)
	if c.p.Devices != nil && ok && c.p.Devices.Vouches(c.tx.Flow, wire.AOR{}, aor) {
		c.user = aor
		return c.permit(aor, policy.Certificate)
	}
	id, refused := c.p.Auth.Verify(c.req, auth.Proxy, realm, c.tx.Flow.ID())
	if refused != nil {
		return refused
	}
	c.tx.Trust()
	proven := wire.AOR{User: id.User, Host: id.Realm}
	if c.p.Devices != nil && c.lacksCertificate(proven) {
		return wire.Errorf(403, "Client Certificate Required", "proxy: %s without its certificate", proven)
	}
	if !ok || aor != proven && (c.p.Devices == nil || !c.p.Devices.Vouches(c.tx.Flow, proven, aor)) {
		return wire.Errorf(403, "", "proxy: %s@%s sent From %s", id.User, id.Realm, from.Raw)
	}
	c.user = aor
	return c.permit(proven, policy.Password)
}
