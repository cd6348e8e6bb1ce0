package turn

import "time"

const (
	// Allocations is how many relays one user has at once, when Config says nothing: a browser takes one for each interface, transport and call.
	Allocations = 64
	// Kbits is what one user may relay each way, in kbit/s, when Config says nothing: four video calls of good quality.
	Kbits = 20_000
	// burst is for how long a user may send faster: a picture of a video call is sent at once.
	burst = 500 * time.Millisecond
	// CredentialLife is how long time-limited credentials are good. A call that outlives them loses its relay, so it is the length of a working day.
	CredentialLife = 12 * time.Hour

	// allocationLife is how long an allocation lives without being refreshed, when its client says nothing, and maxAllocationLife the longest (RFC 8656, 7.2).
	allocationLife    = 10 * time.Minute
	maxAllocationLife = time.Hour
	// permissionLife and channelLife are the standard's (RFC 8656, 9; RFC 8656, 12).
	permissionLife = 5 * time.Minute
	channelLife    = 10 * time.Minute
	// nonceLife is how long a nonce is good (RFC 8656, 5).
	nonceLife = time.Hour
	// reservationLife is how long the port beside an even one is kept (RFC 8656, 7.2).
	reservationLife = 30 * time.Second
	// maxPermissions and maxChannels of an allocation: the candidates of several peers. They are searched for each packet.
	maxPermissions = 128
	maxChannels    = 128
	// maxUnknown is how many attributes that we do not know an answer names.
	maxUnknown = 16
	// sweepTime is how late something may be freed that has expired.
	sweepTime = time.Second
	// maxFrame bounds one message, on streams too: what is relayed is a datagram, and none on the internet is longer than 1500 bytes.
	maxFrame = 1500
	// coresPerWorker: one goroutine relays some 100,000 datagrams a second, and with more of them each wakes for less (docs/adr/0004-udp-without-the-scheduler.md).
	coresPerWorker = 2
	// maxWorkers bounds them, and the sockets that share a UDP address.
	maxWorkers = 16
	// outboxSize is what may wait for a client that comes over TCP or TLS, in bytes: 50 ms of its 20 Mbit/s.
	outboxSize = 128 << 10
	// gatherSize bytes of TLS records are written at once: as much as the largest record has, so that small ones cost no more system calls.
	gatherSize = 16 << 10

	// maxConnections bounds TCP and TLS connections: a goroutine and about 20 KB each.
	maxConnections = 10_000
	// maxPerAddress bounds those of one address, behind which an office may be.
	maxPerAddress = 200
	// handshakeTime is for the TLS handshake: several round trips by satellite.
	handshakeTime = 10 * time.Second
	// frameTime is for the first frame of a connection, and for the rest of any frame that has begun.
	frameTime = 10 * time.Second
	// lonelyTime is how long a connection may be silent that has no allocation.
	lonelyTime = time.Minute
	// idleTime is the same for one that has: an allocation is refreshed before it ends.
	idleTime = allocationLife + time.Minute
	// writeTime is how long a client may fail to take what it is sent.
	writeTime = 10 * time.Second

	// requestCost is charged to an address for each request, and wrongCost for one with a wrong password besides. An address may owe debtLimit: so it
	// sends 500 requests a second and 2000 at once (an office whose browsers all start), or guesses two passwords a second.
	requestCost = 2 * time.Millisecond
	wrongCost   = 500 * time.Millisecond
	debtLimit   = 4 * time.Second
	// debtors is how many addresses are told apart; those that fall together pay together.
	debtors = 1 << 14

	// portTries is how many ports of the range are tried for one relay before it is full.
	portTries = 32
	// userLength bounds a name: what an account may be called.
	userLength = 512
)
