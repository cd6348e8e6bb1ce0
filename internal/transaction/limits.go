package transaction

import "time"

const (
	// DefaultTransactions is Limits.Transactions when that is 0: 5,000 proxied requests a second leave 160,000 completed server transactions in the
	// 32 s of Timers J and L, and as many client ones; this is half as much again, and 0.5 GB at 1 KB each.
	DefaultTransactions = 500_000

	// reservedShare of Limits.Transactions (one in so many) is kept for what ends or belongs to calls that are up: CANCEL, and requests within dialogs, BYE above all. A
	// full server that refused those too could only become fuller.
	reservedShare = 8

	// crowdedShare of Limits.Transactions (one in so many) may be alive before challenges to strangers are not kept any more: with the default that is what 1,000 registrations
	// and 1,000 calls a second leave, some 250 MB.
	crowdedShare = 4

	// returnShare bytes go at most to an unauthenticated sender of an INVITE over UDP, for each that came from its address: a 100, a 180 and a final response are seldom more together.
	returnShare = 3

	// maxAllowance bytes may have been saved up when more come.
	maxAllowance = 1 << 20

	// maxQueued events wait for one owner at most: messages from the network beyond it are dropped, as if the network had lost them; timers and posted functions are
	// never dropped. An owner runs an event in microseconds, so only a peer that floods one call gets here.
	maxQueued = 256

	// newLag is how long a request may have waited before it is read: beyond it new work is refused while we are overloaded. At T1, 500 ms, clients send everything twice, and
	// a server that falls so far behind works on copies; a fifth of it leaves time for the answer. begunLag is the same for requests with credentials, whose first half we have
	// paid for already.
	newLag   = T1 / 5
	begunLag = 2 * newLag

	// lagPatience is how long the lag must have been above newLag without a break: at three times the load that can be carried it grows to about 0.4 s meanwhile, still below T1.
	lagPatience = 400 * time.Millisecond
	// lagMemory is for how long after that no patience is had again: what has overloaded us is seldom over at once, and while it lasts the lag stays at newLag.
	lagMemory = 10 * time.Second

	// retryAfterLeast and retryAfterSpread are the seconds a refused client is told to wait: long enough for transactions to end, spread so that all do not come back at once.
	retryAfterLeast  = 5
	retryAfterSpread = 11

	// failureEvery is how often a request that failed for a reason of our own is logged: the first of many says it.
	failureEvery = time.Second

	// wheelSlots of 10 ms are 41 s, one turn of the wheel: only timers of users (Timer C) take more than one.
	wheelSlots = 4096

	// leisure is how many ticks a finished transaction may stay longer than RFC 3261, 17 says at least: 500 ms.
	leisure = 50

	// fireBatch timers leave the wheel under one lock, and are posted without it.
	fireBatch = 256

	// tableShards locks per table, so that the readers of several sockets seldom meet.
	tableShards = 128
)
