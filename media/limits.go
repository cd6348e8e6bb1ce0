package media

import "time"

const (
	// maxBrowsers bounds the legs of browsers: each costs 10 KB, and they all share one port, which would otherwise bound nothing.
	maxBrowsers = 4096

	// maxLegs of one call: the caller, as many branches as a request may have, and a second try for each.
	maxLegs = 21

	// maxNumbers bounds the formats of a leg whose numbers are kept: a phone with sound and picture has ten.
	maxNumbers = 64

	// maxPlaces bounds the addresses that one browser may have proven: one for each of its networks, in both address families.
	maxPlaces = 16

	// maxCandidates of ours: more make the browser check more pairs, and all lead to the same port.
	maxCandidates = 4

	// addressAge is how long the machine's addresses are believed to be the same.
	addressAge = 10 * time.Second

	// maxFlight is how many DTLS packets wait for the handshake: twice the largest flight (a certificate in five fragments). Hardening 67.
	maxFlight = 16

	// guestQueue is how many packets wait for the reader of a guest: a flight of DTLS, and a window of SCTP (64 KB).
	guestQueue = 64

	// handshakeTime bounds a DTLS handshake: browsers give up after about as long.
	handshakeTime = 20 * time.Second

	// keepDTLS is how long the handshake's end may be repeated, if its last packets were lost. Then its memory is given back: all
	// that follows is SRTP. Retransmission timers are at 16 s by then. RFC 6347
	keepDTLS = 20 * time.Second

	// collectAfter is how many handshakes are worth a run of the garbage collector, 1.6 MB, and releaseAfter how many one that gives memory back to the system besides.
	collectAfter = 16
	releaseAfter = 32
	// collectShare: after such a run, which takes 5 to 10 ms, and a second with a million bindings, none for so many times as long.
	collectShare = 20

	// keyframeEvery bounds requests for a new picture: each costs the sender as much as a second of video.
	keyframeEvery = 500 * time.Millisecond

	// refreshEvery is how often a browser is asked for a new picture when the phone that looks at it cannot ask.
	refreshEvery = 4 * time.Second

	// reportEvery is the mean time between RTCP reports; the real one varies by half of it either way. RFC 3550, 6.2
	reportEvery = 5 * time.Second

	// DefaultTimeout of a silent leg: rtpengine waits as long, and a phone that is silent for a minute without hold is gone.
	DefaultTimeout = 60 * time.Second

	// consentTimeout is when a browser that answers for nothing any more is given up: RFC 7675, 5.1 says 30 s.
	consentTimeout = 30 * time.Second

	// holdTimeout of a leg on hold: nobody holds a line for longer, and RTCP keeps most phones alive anyway.
	holdTimeout = time.Hour

	// earlyTimeout of a bridge whose call is not answered: longer than Timer C lets it ring (RFC 3261, 16.6 step 11), should nobody end it.
	earlyTimeout = 5 * time.Minute
)
