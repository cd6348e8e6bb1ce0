package main

import "time"

const (
	// drainTime is how long a stopping server waits for its transactions: with closeTime 10 s, what service managers and people accept.
	drainTime = 7 * time.Second
	// drainLinger is how long nothing may run before we go: a call that was answered this moment still needs its ACK brought to the callee.
	drainLinger = 500 * time.Millisecond
	// signalEcho is how soon after the first a second signal does not count: no hand presses Ctrl-C twice as fast.
	signalEcho = 200 * time.Millisecond
	// drainRetryAfter is the Retry-After of the 503 sent while draining: a restart takes less.
	drainRetryAfter = 5
	// lockWait is how long a command waits for another one, or for a server that is just starting with a million bindings.
	lockWait = 30 * time.Second
	// serverLockWait is how long a starting server waits for a command that works on the database.
	serverLockWait = 5 * time.Second
	// connectWait is how long a response waits to hear that its new connection was refused: a little more than transport gives it.
	connectWait = 5 * time.Second
	// maxReturnHops bounds the addresses that one response is tried at: the name they come from is anybody's word.
	maxReturnHops = 4
	// closeTime is for what follows the drain: what is queued on sockets, and the last commit.
	closeTime = 3 * time.Second
	// ballastSize is memory that is reserved and never touched, so it costs no page: the garbage collector's next run depends on the size of the
	// heap, and without it a small server collects ten times as often, for a tenth of its CPU. With collectAt, which is GOGC (the environment goes first), a small server grows by 116 MB
	// between two collections, and a million bindings stay below 1 GB: the default of 100 needs twice what is alive.
	ballastSize = 192 << 20
	collectAt   = 50
	// webHeaderTimeout is for a TLS handshake, and for the head of a request: several round trips by satellite.
	webHeaderTimeout = 10 * time.Second
	// webReadTimeout is for a whole request: what pages send is small.
	webReadTimeout = 20 * time.Second
	// webWriteTimeout is for a whole answer: the phone page at 100 kbit/s. A handler that streams moves its own deadline.
	webWriteTimeout = 60 * time.Second
	// webIdleTimeout is how long a browser's connection may wait for the next request.
	webIdleTimeout = 60 * time.Second
	// ownAddressLife is how long the addresses of this machine are taken to be the same.
	ownAddressLife = 30 * time.Second
	// maxWebHeader bounds the head of a request: browsers stay below 8 KB.
	maxWebHeader = 16 << 10
	// maxWebStreams is how many requests of one HTTP/2 connection run at once.
	maxWebStreams = 64
	// maxNamedOnce is how many foreign web pages, and how many foreign domains, are named in the log: an operator who has forgotten one has forgotten a handful.
	maxNamedOnce = 16
	// maxPassword bounds a password read from a stream.
	maxPassword = 1 << 10
	// logBuffer is how much log waits for a slow reader before lines are dropped, and counted.
	logBuffer = 4 << 20
	// logDelay is how old a line may get before it is written.
	logDelay = 100 * time.Millisecond
	// maxLogValue bounds what one value of a message takes in a log line.
	maxLogValue = 256
	// maxLogError bounds what an error takes there, which may name several.
	maxLogError = 1 << 10
	// feedSlack is how much older than the last event of the feed a binding may be that a crash kept out of it: a commit of events, and one that the disk held up.
	feedSlack = 10 * time.Second
)
