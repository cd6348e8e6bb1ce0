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

	// MaxDevices, MaxGrants and MaxLogins are how many of each are held in memory: at 300 bytes each, under 1 GB.
	MaxDevices, MaxGrants, MaxLogins = 1_000_000, 1_000_000, 1_000_000

	// maxKind and maxInstance are in bytes: a kind is a word, an instance a URN of 45 (RFC 5626, 4.1).
	maxKind, maxInstance = 64, 256

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

	// MaxEvents is how many events the feed keeps at least, about 60 MB: a day of a site with 50,000 phones that come and go twice.
	MaxEvents = 200_000

	// eventPage is how many rows of the feed are read at once, and eventPageBytes after how many bytes reading stops: a row is a commit, of one event mostly, of
	// thousands in a storm.
	eventPage, eventPageBytes = 256, 1 << 20

	// maxCommittedEvents are written in one transaction, which holds up registrations for as long: 1 MB, a few milliseconds.
	maxCommittedEvents = 4096

	// eventGather is how long events wait for company, and so what a crash may lose of them. eventRetry is when a commit that failed is tried again.
	eventGather, eventRetry = 500 * time.Millisecond, time.Second

	// maxCommittedPhones are written in one transaction, which holds up registrations for as long: phoneRows by one statement, a few milliseconds in all.
	// maxWaitingPhones may wait, half of them for phoneGather.
	maxCommittedPhones, maxWaitingPhones, phoneRows = 512, 1 << 14, 64

	// phoneGather is how long phones that come wait: when all of them come at once, after a power cut, their registrations go first.
	phoneGather = 30 * time.Second

	// maxPhones of an address are remembered, the longest gone is forgotten first: nobody has more, and who makes up instances fills no disk.
	maxPhones = 20

	// commitPause is the shortest time between two commits of the journal: registrations need the disk too.
	commitPause = 25 * time.Millisecond

	// syncWait is how long a reader waits for what has just happened: who asks once more because a busy disk took two seconds has waited longer.
	syncWait = 5 * time.Second

	// subscriptionGather is how long a subscription waits for company: its subscriber waits for the answer.
	subscriptionGather = 5 * time.Millisecond

	// maxWaitingEvents may wait for a slow disk: at 2,000 a second half a minute, and 20 MB. maxWaitingSubscriptions may wait, each a subscriber.
	maxWaitingEvents, maxWaitingSubscriptions = 1 << 16, 1 << 14
)
