package messages

import "time"

const (
	// maxSessions at once: each costs 120 KB and 20 goroutines, most of them of SCTP, DTLS and ICE.
	maxSessions = 1000

	// maxOfUser: as many tabs as a user may have registrations by default.
	maxOfUser = 10

	// MaxOffer in bytes: a browser's offer of one data channel with the candidates of all its networks takes 2 KB.
	MaxOffer = 16 << 10

	// maxFrame in bytes: a message of maxRequest with every character escaped fits.
	maxFrame = 8 << 10

	// maxRequest is what a MESSAGE may take, header fields included, because it may have to go over UDP. RFC 3428, 8
	maxRequest = 1300

	// maxID of a frame, in bytes: room for a UUID and more.
	maxID = 64

	// maxURI in bytes: what phones display, and more.
	maxURI = 255

	// maxText of a message to a page, in bytes: half of the largest datagram.
	maxText = 32 << 10

	// maxBacklog is what may wait in bytes because the page does not read: some messages of the largest size. Then the page is not available.
	maxBacklog = 256 << 10

	// maxWindow is what SCTP takes from a page before it is read.
	maxWindow = 64 << 10

	// maxPending is how many messages of a page may await their final response: twice what a burst is.
	maxPending = 2 * burst

	// inbox is how many SIP messages wait for the session: the transaction layer hears that there is no room.
	inbox = 64

	// A page may send burst messages at once and one more each pace: people type more slowly.
	burst = 20
	pace  = 200 * time.Millisecond

	// openTime is how long the channel may take to open, ICE and DTLS included.
	openTime = 30 * time.Second

	// lifetime of a session: then the page has to show its password again.
	lifetime = 24 * time.Hour

	// silence ends the session of a page that does not answer checks any more, in two steps of pion/ice. Together: RFC 7675, 5.1
	silence, gone = 10 * time.Second, 20 * time.Second

	// expires is how long a registration of ours is asked for; it is refreshed at half of what is granted.
	expires = 600 * time.Second

	// later is when a registration that failed for a while is tried again.
	later = 30 * time.Second

	// leaveTime is how long the end of a session waits until its registration is taken back: a commit takes milliseconds.
	leaveTime = 2 * time.Second

	// tick is how exact all these times are.
	tick = 5 * time.Second

	// answerTime is how long a final response may take: Timer F and a little. RFC 3261, 17.1.2.2
	answerTime = 35 * time.Second
)
