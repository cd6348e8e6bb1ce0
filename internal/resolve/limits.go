package resolve

import "time"

const (
	maxLookups = 256  // names being looked up at once; beyond it Resolve fails with 503
	maxWaiting = 1024 // requests waiting for one name
	maxPlans   = 4096 // cached names, the unreachable ones included
	maxFailed  = 1024 // hops remembered as failed
	maxNAPTR   = 8    // NAPTR records followed per name
	maxSRV     = 16   // SRV records followed per name and transport: a zone with 1,000 costs no more
	maxAddrs   = 8    // addresses taken per host name

	lookupTime  = 2 * time.Second        // a whole lookup: NAPTR, SRV and addresses together
	serverTime  = 700 * time.Millisecond // one name server before the next is asked
	minTTL      = 1 * time.Second        // a TTL of 0 still serves the requests of one second
	maxTTL      = 1 * time.Hour          // a wrong record heals within the hour
	negativeTTL = 30 * time.Second       // names that do not exist, when the answer has no SOA; also the cap (RFC 2308, 5 allows more)
	failureTTL  = 5 * time.Second        // SERVFAIL, timeouts
	avoidFor    = 30 * time.Second       // a failed hop is tried last for this long (RFC 3263, 4.3 leaves the time to us)
)
