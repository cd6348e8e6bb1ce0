package policy

import "time"

const (
	// MaxFile is the most bytes of a policy file: a thousand rules of ordinary size take half of it.
	MaxFile = 1 << 20

	// maxRules is how many rules a file may have: every registration is compared with all of them, 50 ns each.
	maxRules = 256

	// maxNames is how many names the groups may have altogether, and a condition by itself: they are held in memory.
	maxNames = 1_000_000

	// minDuration and maxDuration bound every time in the file: a second is the unit of SIP, and a year is what delta-seconds are used for.
	minDuration = time.Second
	maxDuration = 366 * 24 * time.Hour

	// maxMinExpires: a registrar must not answer 423 to an hour or more (RFC 3261, 10.3 step 7).
	maxMinExpires = time.Hour

	// maxCount bounds the limits a rule may set; the rooms have their own below it.
	maxCount = 100
)
