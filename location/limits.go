package location

import "time"

// Bounds of the room, and why.
const (
	// MaxBindings is how many contacts one address-of-record may have at most. The registrar's own limit, which an operator sets, is lower.
	MaxBindings = 100

	// MaxRecord is how many bytes the bindings of one address may take when encoded: MaxBindings of ordinary size take half of it.
	MaxRecord = 64 << 10

	// MaxPending is how many updates may wait for the disk. At 10,000 a second it is what a disk that stalls for a second and a half
	// leaves behind; beyond it a phone is told at once to come later.
	MaxPending = 16384

	// retryAfter is how many seconds such a phone shall wait, and retrySpread what is added at random, so that they do not all come back
	// in the same second.
	retryAfter, retrySpread = 2, 8

	// gather is the shortest time between two commits. A commit costs about 250 us of CPU, mostly in the kernel, however small it is: gathering
	// makes it 1 % of a core, and the wait is half of the 50 ms in which a registration shall be answered. A change that comes alone is
	// written at once.
	gather = 25 * time.Millisecond

	// maxCommit and maxCommitBytes are what one transaction writes at most: a few milliseconds of work, so that the first one in it does not wait
	// for the last.
	maxCommit, maxCommitBytes = 4096, 4 << 20

	// logSlack is how many dead records the log may hold in any case, and with as many dead as live ones it is cleaned from the old end. maxMoved
	// and maxDropped bound what one commit does of that.
	logSlack, maxMoved, maxDropped = 4096, 1024, 256

	// shards is in how many parts the index is cut, each with its own locks: enough that two cores rarely meet.
	shards = 64

	// hotPerShard is how many addresses of a shard keep their bindings decoded, 64 k in all and about 30 MB: those that were called or registered last.
	hotPerShard = 1024

	// wheelSlots is how far the wheel reaches, in seconds. What expires later is put at its end and again when it comes up: once an hour.
	wheelSlots = 4096

	// minSkew is by how much the wall clock must have been set for it to matter.
	minSkew = 1000 // ms
)
