package regevent

import "time"

const (
	// DefaultExpires is what a SUBSCRIBE without Expires means. RFC 3680, 4.4
	DefaultExpires = 3761 * time.Second

	// MinExpires is the shortest subscription: each refresh costs two transactions. RFC 6665, 4.2.1.1 allows a least interval of an hour at most.
	MinExpires = time.Minute

	// MaxExpires is the longest subscription: as long a subscriber that has gone without a word is kept, unless a NOTIFY finds out.
	MaxExpires = 2 * time.Hour

	// pace is the shortest time between two NOTIFYs to one subscriber. RFC 3680, 4.10
	pace = 5 * time.Second

	// gather is how long a change waits for others in any case: so a phone hears the answer to its REGISTER before it is notified of it.
	gather = 20 * time.Millisecond

	// maxRetryAfter bounds how long a subscriber may put off the next NOTIFY by Retry-After.
	maxRetryAfter = time.Hour

	// maxPerAOR is how many subscriptions to one address there may be: each of its ten contacts watches it, and ten applications do.
	maxPerAOR = 20

	// maxSubscriptions bounds them in all: 2 KB each, 200 MB.
	maxSubscriptions = 100_000

	// retryAfter is when a subscriber who found no room shall come again.
	retryAfter = "300"

	// probation is when a phone on probation may come back, where nobody knows better: long enough for people to see what they did, short enough for nobody to have to restart phones.
	probation = 5 * time.Minute

	// maxDatagram is the largest NOTIFY sent over UDP: changes that do not fit follow in the next one, full state goes over TCP if that can be. RFC 3261, 18.1.1
	maxDatagram = 1300

	// maxBody bounds a document: twenty contacts with all their parameters.
	maxBody = 32 << 10

	// maxPending is how many changed contacts wait for the next NOTIFY; beyond it that one tells everything. Twice the bindings of an address.
	maxPending = 200

	// maxRoutes bounds the route set, maxField each name of the dialog: they are kept for hours.
	maxRoutes, maxField = 10, 1 << 10

	// firstPort is the lowest port of a phone that NOTIFY is sent to without its asking from there: below are the services of other programs.
	firstPort = 1024

	// spread is the time between two subscribers who are told, after a restart, how things are: a thousand a second.
	spread = time.Millisecond
)
