package registrar

import "time"

const (
	// DefaultExpires is granted to a phone that asks for no interval, and is what a malformed one means (RFC 3261, 10.2).
	DefaultExpires = time.Hour

	// MinExpires is the shortest interval granted: phones behind NAT refresh every minute or two to keep their path open; below a minute
	// refreshes cost more than calls. It must not exceed an hour (RFC 3261, 10.3 step 7).
	MinExpires = time.Minute

	// MaxExpires is the longest interval granted: so long a phone that has gone without a word is called in vain.
	MaxExpires = 2 * time.Hour

	// MaxContacts is how many bindings an address may have, and how many a REGISTER may name: every call to it rings so many phones. Few
	// people have more than five.
	MaxContacts = 10

	// maxContact is the most bytes of one Contact value. Linphone with push tokens and feature tags sends 800.
	maxContact = 1 << 10

	// maxCallID is the most bytes of a Call-ID, which is kept with each binding. Phones send 20 to 80.
	maxCallID = 256

	// maxPath is the most proxies a REGISTER may have come by, and maxPathValue the most bytes each writes of itself. There is one in front of most
	// networks, and hardly ever more than two.
	maxPath, maxPathValue = 5, 512

	// maxUserAgent is how many bytes of User-Agent are kept with a binding; the rest is cut off.
	maxUserAgent = 128

	// flowTimer is after how many seconds at the latest a phone that knows outbound shows that its flow lives: over UDP before a NAT forgets it after 30 s,
	// over connections often enough for a call to find a living one (RFC 5626, 4.4.1 and 4.4.2 propose the same).
	flowTimerUDP, flowTimerStream = 29, 120

	// pingInterval is after how many seconds a phone behind NAT is sent an OPTIONS: NATs forget a UDP flow after 30 s at the earliest that is sensible (RFC 5626,
	// 4.4.2 has phones send every 24 to 29 s).
	pingInterval = 25

	// maxPings is how many of them leave in one second, and maxPinged for how many flows: what maxPings makes of pingInterval. A datagram out and
	// one in each: what 2,000 REGISTERs a second cost.
	maxPings, maxPinged = 4000, pingInterval * maxPings

	// maxSilence is for how many seconds a flow over UDP may be silent that its phone keeps alive, before the phone is asked: Flow-Timer and what may be late (RFC 5626, 5.4). Who does
	// not answer in lastChance, in which OPTIONS is sent four times, is gone.
	maxSilence, lastChance = flowTimerUDP + 4, 7

	// maxIdle is for how long a connection may be silent whose phone promised keep-alives: Flow-Timer, and what TCP needs to send a lost one again.
	maxIdle = (flowTimerStream + 30) * time.Second

	// maxWatched flows are watched: 4,000 keep-alives a second. Of more than that nobody notices that they are dead until a call does. 250 bytes each.
	maxWatched = 100_000

	// maxReplaced registrations that were replaced by another device's are remembered, 300 bytes each, and each for replacedFor after its phone last tried to refresh it:
	// phones that are refused try again within an hour.
	maxReplaced = 50_000
	replacedFor = 24 * time.Hour

	// firstPort is the lowest port at which a phone may ask to be called directly. Below are the services of other programs.
	firstPort = 1024
)
