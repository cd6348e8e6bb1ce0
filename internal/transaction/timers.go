package transaction

import "time"

// The timers of RFC 3261, 17. They are constants: every element on the path would have to agree on other values.
const (
	T1 = 500 * time.Millisecond // round-trip estimate (RFC 3261, 17.1.1.1)
	T2 = 4 * time.Second        // longest interval between retransmissions of anything but an INVITE request (RFC 3261, 17.1.2.2)
	T4 = 5 * time.Second        // longest stay of a message in the network (RFC 3261, 17.1.2.2)

	timerB = 64 * T1          // RFC 3261, 17.1.1.2: an INVITE without any response
	timerD = 32 * time.Second // RFC 3261, 17.1.1.2: re-sending the ACK, unreliable transports
	timerF = 64 * T1          // RFC 3261, 17.1.2.2: a request without a final response
	timerH = 64 * T1          // RFC 3261, 17.2.1: waiting for the ACK
	timerI = T4               // RFC 3261, 17.2.1: absorbing ACKs, unreliable transports
	timerJ = 64 * T1          // RFC 3261, 17.2.2: absorbing requests, unreliable transports
	timerK = T4               // RFC 3261, 17.1.2.2: absorbing responses, unreliable transports
	timerL = 64 * T1          // RFC 6026, 7.1: absorbing an accepted INVITE
	timerM = 64 * T1          // RFC 6026, 7.2: hearing further 2xx

	// cancelled is how long a cancelled INVITE may stay without a final response (RFC 3261, 9.1).
	cancelled = 64 * T1

	// tryingAfter is when a client's Timer E is reset to T2: after T1, 2*T1 and 4*T1. From then on, and on unreliable transports not before, a non-INVITE request
	// that has no answer yet gets a 100 (RFC 4320, 4.1).
	tryingAfter = 7 * T1
)

// tick is the wheel's unit of time, counted from its start.
type tick int64

const granularity = 10 * time.Millisecond

// ticks rounds up: a timer is never early.
func ticks(d time.Duration) tick { return tick((d + granularity - 1) / granularity) }

// backOff doubles an interval up to T2, as Timers E and G do (RFC 3261, 17.1.2.2 and 17.2.1).
func backOff(interval tick) tick { return min(2*interval, ticks(T2)) }
