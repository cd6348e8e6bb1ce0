package turn

import (
	"sync"
	"sync/atomic"
	"time"
)

// accounts knows what every user has in use; who has nothing is not in it.
type accounts struct {
	mu    sync.Mutex
	limit int
	rate  int64 // bytes a second, each way
	users map[string]*account
}

// account is one user's. toPeers and toClient bound the rate.
type account struct {
	user              string
	relays            int // under the lock of accounts
	toPeers, toClient bucket
}

// get finds a user's account, or makes it.
func (a *accounts) get(user string) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[user]
	if u == nil {
		u = &account{user: user, toPeers: bucket{rate: a.rate}, toClient: bucket{rate: a.rate}}
		a.users[user] = u
	}
	return u
}

// take gives the user one relay more, unless all are in use.
func (a *accounts) take(u *account) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.relays >= a.limit {
		return false
	}
	u.relays++
	a.users[u.user] = u
	return true
}

func (a *accounts) give(u *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u.relays--
	a.forgetLocked(u)
}

// forget drops an account that has nothing.
func (a *accounts) forget(u *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetLocked(u)
}

func (a *accounts) forgetLocked(u *account) {
	if u.relays == 0 && a.users[u.user] == u {
		delete(a.users, u.user)
	}
}

// bucket bounds a rate without a lock. It says when all that passed would be through at that rate; that may lie ahead by burst.
type bucket struct {
	rate  int64 // bytes a second
	until atomic.Int64
}

// pass tells whether n bytes may pass.
func (b *bucket) pass(now time.Duration, n int) bool {
	return charge(&b.until, now, time.Duration(int64(n)*int64(time.Second)/b.rate), burst)
}

// charge adds cost to a debt that time pays off, unless it would grow beyond limit.
func charge(until *atomic.Int64, now, cost, limit time.Duration) bool {
	for {
		old := until.Load()
		next := max(time.Duration(old), now) + cost
		if next-now > limit {
			return false
		}
		if until.CompareAndSwap(old, int64(next)) {
			return true
		}
	}
}
