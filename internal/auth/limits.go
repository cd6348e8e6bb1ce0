package auth

import "time"

const (
	// NonceLife is how long a nonce is good when Config says nothing. Replays are prevented by the nonce count, not by haste, and a
	// phone that refreshes its registration within it needs no second challenge: 2 hours is the longest registration granted.
	NonceLife = 2 * time.Hour

	// maxHeader is the most bytes of credentials. A Digest response of a phone has 200 to 400.
	maxHeader = 4 << 10

	// maxToken is the most bytes of a session token: names of users and domains are shorter than 256.
	maxToken = 2 << 10

	// maxParams is the most parameters of one Digest response: RFC 7616, 3.4 defines 11.
	maxParams = 32

	// maxCnonce is the most bytes of a client's nonce: it comes back in Authentication-Info. Phones send 8 to 64.
	maxCnonce = 256

	// usedBuckets times usedWays is how many used nonces are remembered, in 9 MB: 262,144, the registrations of two minutes at 2,000 a
	// second, or of two hours of 60,000 phones. Beyond, the oldest become stale, which costs their phones one more round trip.
	usedBuckets = 1 << 15
	usedWays    = 8

	// window is how many nonce counts below the highest are still accepted, each once: datagrams overtake each other. It is the
	// width of a word; a phone has two or three requests under way.
	window = 64

	// sourceBuckets times sourceWays is how many sources with failures are remembered, in 200 KB. Beyond, the one with the fewest is
	// forgotten: an attacker with 8,192 addresses is not stopped by a list of addresses.
	sourceBuckets = 1 << 10
	sourceWays    = 8

	// failures is how many wrong passwords a source may send at once, and forgive is how often it gets one of them back: an
	// office behind one address with a forgotten phone that tries every 10 seconds stays below.
	failures = 30
	forgive  = 10 * time.Second

	// ban is how long a source beyond that is refused: 9,000 guesses a day remain, too few for any password that is not in a list.
	ban = 5 * time.Minute
)
