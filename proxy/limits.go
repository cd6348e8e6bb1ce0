package proxy

import "time"

// Every number here bounds something that a peer could otherwise make grow.
const (
	// maxBranches bounds the targets of one request: as many as the registrar keeps contacts of one address-of-record.
	maxBranches = 10

	// maxHops bounds the addresses tried for one target: a name may have hundreds of SRV and A records, and each silent one costs 32 s.
	maxHops = 4

	// maxOwnRoutes bounds the topmost Route values of ours removed from one request: two for each time a spiral passed here.
	maxOwnRoutes = 8

	// maxPasses bounds how often a spiral is bridged: a page that calls a server which calls a page takes two.
	maxPasses = 4

	// maxEarly bounds the early dialogs that are known of one bridged call: a branch has one, unless something beyond it forks.
	maxEarly = 4 * maxBranches

	// maxBreadth is the greatest number of branches one request may have alive anywhere downstream. RFC 5393, 5.3.3
	maxBreadth = 60

	// spareBreadth is what a request that came without Max-Breadth has besides, for phones that register while it rings.
	spareBreadth = maxBranches - 1

	// maxForwards is put in where a phone sent none. RFC 3261, 16.6 step 3
	maxForwards = 70
)

const (
	// timerC bounds a call that rings: it MUST be larger than 3 minutes. RFC 3261, 16.6 step 11
	timerC = 3*time.Minute + time.Second

	// serialRing is how long the targets of one q value ring before those of the next lower one are tried: five rings, which is less than the
	// 32 s after which many callers give up, and long enough to reach a phone across a room.
	serialRing = 25 * time.Second
)

const (
	// maxRules bounds the Accept-Contact and Reject-Contact values of a request (RFC 3841, 11 proposes 20), maxValues what each may ask for, and
	// maxCapabilities what a contact can say of itself: all of the first is compared with all of the last.
	maxRules, maxValues, maxCapabilities = 20, 32, 256
)

// maxMember is the longest user name that a Record-Route value carries: it must fit in a URI twice. Whoever has a longer one loses, with the connection, the
// calls that are up.
const maxMember = 40

// macSize is the length in bytes of the signature in a Record-Route value. 96 bits: forging one takes 2^95 requests on average.
const macSize = 12
