package login

import "time"

const (
	// maxWaiting is how many pieces of work may wait for the clerk: logins of a morning's first seconds. Beyond, phones get 503.
	maxWaiting = 16384

	// maxUsers is how many users a device may have when the policy does not say: its REGISTER is answered with the list of them.
	maxUsers = 100

	// tick is how often the clerk looks at the clock: the unit of SIP's times.
	tick = time.Second

	// seenEvery is how exactly the last activity of a login is known: idle times are minutes and hours.
	seenEvery = 10 * time.Second

	// orphanAge is how old a login without a binding must be to be taken for one whose device is gone: a new one is bound in milliseconds.
	orphanAge = time.Minute

	// batch is how many addresses a changed policy changes before the clerk waits for the disk, so that registrations are not held up.
	batch = 256

	// lookEvery is after how many addresses a changed policy lets others run.
	lookEvery = 1024
)
