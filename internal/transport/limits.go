package transport

import "time"

// Limits are the bounds an operator may move; zero means the default.
type Limits struct {
	Connections int // of TCP, TLS and web servers in all, both directions
	PerAddress  int // accepted connections of one IPv4 address or one IPv6 /64
}

const (
	// DefaultConnections leaves a quarter of the usual 20,000 descriptors to the database, the web pages and the calls' media.
	DefaultConnections = 15_000
	// DefaultPerAddress is an office or a carrier's NAT; more from one address is more likely an attack (Kamailio's tcp_accept_iplimit is 1,024 too).
	DefaultPerAddress = 1024

	// udpBatch datagrams are read or written by one system call: more gains nothing measurable and delays the first answer. A reader's buffers take 2 MB
	// of address space, and as much memory as the datagrams that come.
	udpBatch = 32
	// maxSockets share one UDP address, one for two cores: beyond these the cores are better busy with what the readers pass on.
	maxSockets = 16
	// datagramSize is the largest UDP payload there is, so that no datagram is cut off unnoticed.
	datagramSize = 65_535
	// socketBuffer holds half a second of 10,000 requests a second, headroom for a stall of the process.
	socketBuffer = 4 << 20
	// maxDatagrams wait in one send queue, twice a full receive buffer of small requests; beyond it Send says ErrFull.
	maxDatagrams = 8192
	// flowCache is how many UDP flow values are kept for re-use per listener: a fixed table, so that a million spoofed sources cost nothing.
	flowCache = 4096
	// errorSize bytes are read of an ICMP error's quotation: the Request-URI and the top Via of all but strange requests.
	errorSize = 1024
	// maxErrors are read at once: a flood of forged ones must not keep a reader from the datagrams.
	maxErrors = 64
	// maxBounces is how often a datagram is tried again because sending it only reported the fate of an earlier one.
	maxBounces = 4
	// lookAgain is how long a full socket is waited for before we look whether it was closed.
	lookAgain = 100 * time.Millisecond
	// largeRequest bytes go over UDP at most, and mtuReserve less than the path's MTU: the response is larger than its request (RFC 3261, 18.1.1).
	largeRequest = 1300
	mtuReserve   = 200
	// smallRequest fits through every path of IPv6 (1,280 bytes at least), and through all of IPv4 but museum pieces: the kernel need not be asked.
	smallRequest = 1280 - mtuReserve
	// routeAge is how long the answer of the kernel's routing table for a UDP destination is used.
	routeAge = 10 * time.Second
	// addressAge is how long the machine's list of addresses is used.
	addressAge = 10 * time.Second

	// readBuffer of a connection: most messages fit, and 10,000 idle connections hold 40 MB.
	readBuffer = 4096
	// maxBacklog is what may wait for a peer that does not read: four messages of the largest size; then the connection is closed.
	maxBacklog = 256 << 10
	// maxCorked bytes are gathered while a connection's own messages are being processed before they are written.
	maxCorked = 32 << 10
	// maxPongs answers to keep-alives found together are written: nobody honest sends more at once.
	maxPongs = 16
	// maxDiscard bytes are read from a connection that was told of its framing error, so that the answer is not lost in a reset.
	maxDiscard = 256 << 10

	// neighbours4 and neighbours6 are the bits that the maddr of a Via has in common with the source: its own network and no other.
	neighbours4, neighbours6 = 24, 64

	// rejectRate answers a second, and rejectBurst at once, go to one UDP source that sends unparsable requests: the answer may hit somebody else.
	rejectRate  = 5
	rejectBurst = 10
	// rejectTable is the number of buckets that sources are hashed to: a fixed table of 128 kB.
	rejectTable = 8192

	// maxKeptBuffer is how large a buffer of a WebSocket message may have grown to be used again.
	maxKeptBuffer = 16 << 10
	// maxNoise bytes may come on a WebSocket without completing a message, between two pings of ours: a largest message in fragments of a few bytes.
	maxNoise = 256 << 10
	// maxPings may come in that time: who keeps his connection open sends a few.
	maxPings = 100
	// maxSilent pings in a row without a sign of life end a WebSocket.
	maxSilent = 2
	// wsBurst messages may come at once on a WebSocket, then one in each gap: a page sends a few; a gateway with hundreds of phones behind it still gets through.
	wsBurst = 1000
	// controlFrame holds the head and the payload of any control frame (RFC 6455, 5.5: at most 125 bytes).
	controlFrame = 256
	// maxEmbedded addresses of foreign web servers are known as our own.
	maxEmbedded = 64

	// maxSessions are the TLS sessions remembered for resumption by our outbound connections.
	maxSessions = 1024
)

// timeouts of a connection. They are fields, not constants, so that tests need not wait.
type timeouts struct {
	handshake    time.Duration // TLS: from accept to the end of the handshake
	firstMessage time.Duration // from accept to the first whole message
	message      time.Duration // from a message's first byte to its last
	idle         time.Duration // between messages
	ping         time.Duration // WebSocket: between our pings
	gap          time.Duration // WebSocket: between messages, when many come
	write        time.Duration // the peer must have read a backlog in this time
	connect      time.Duration // outbound: TCP and TLS together
	linger       time.Duration // after a framing error, for the peer to read the answer
	acceptPause  time.Duration // after accept failed for want of descriptors
}

var defaultTimeouts = timeouts{
	handshake:    10 * time.Second,     // several round trips by satellite
	firstMessage: 20 * time.Second,     // who connects wants to say something
	message:      20 * time.Second,     // Kamailio's tcp_msg_data_timeout; a 64 KB message at 26 kbit/s
	idle:         2 * time.Hour,        // longer than the usual 3,600 s between REGISTERs of a phone that sends no keep-alives; TCP's own find the dead
	gap:          2 * time.Millisecond, // 500 a second
	ping:         30 * time.Second,     // web proxies and NATs forget a connection after 60 s; a silent peer is gone within 90 s
	write:        20 * time.Second,     // a peer that has not read in this time has lost its transactions anyway (RFC 3261, 17.1.1.2 Timer B is 32 s)
	connect:      4 * time.Second,      // leaves Timer B time for the next hop of RFC 3263
	linger:       time.Second,
	acceptPause:  50 * time.Millisecond,
}

// TCP's own keep-alive finds a peer that vanished within keepIdle + keepCount*keepInterval = 90 s; unacknowledged data does so within userTimeout.
const (
	keepIdle     = 30 * time.Second
	keepInterval = 15 * time.Second
	keepCount    = 4
	userTimeout  = 60 * time.Second
)
