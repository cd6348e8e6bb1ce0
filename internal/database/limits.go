package database

import "time"

// Bounds of the room, and why.
const (
	// MaxName is the longest user name in bytes: longer ones are no phone's, and each is held in memory.
	MaxName = 128

	// MaxDomain is the longest domain in bytes: a DNS name has at most 253 (RFC 1035, 2.3.4).
	MaxDomain = 253

	// MaxPassword is the longest password in bytes that is hashed: a longer one is a mistake or an attack.
	MaxPassword = 1024

	// MaxUsers is how many accounts are held in memory: at about 230 bytes each, under 1 GB.
	MaxUsers = 4_000_000

	// busyTimeout is how long we wait for another process (a command beside the server, a backup) that holds the lock.
	busyTimeout = 5 * time.Second

	// maxReaders is how many connections read beside the writer: users are read from memory, so reading is rare.
	maxReaders = 2

	// checkpointPages is how large the write-ahead log grows before it is copied into the file, in pages of 4 kB: small, so that the
	// copy takes a few milliseconds and no registration waits for it noticeably.
	checkpointPages = 1000

	// journalBytes is what the log file is cut back to after a burst (an import) made it larger.
	journalBytes = 16 << 20

	// progressEvery is after how many imported users the caller hears of it.
	progressEvery = 500

	// secretBytes is the size of a secret: the block of HMAC-SHA-256 gains nothing from more.
	secretBytes = 32
)
