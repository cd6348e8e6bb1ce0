package login

import (
	"context"
	"sync"
	"time"

	"signalbox/internal/policy"
	"signalbox/internal/wire"
	"signalbox/location"
)

// Applied counts what a changed policy did to bindings that live.
type Applied struct{ Shortened, Deactivated, Probation, Rejected int }

// Apply holds every live binding against a new policy. What the change does not concern stays untouched: only where the two policies decide
// differently is anything done. It may be called once at a time.
func (s *Service) Apply(ctx context.Context, old, fresh *policy.Policy) (Applied, error) {
	now := time.Now()
	defer s.dueBy(now) // idle times and the like may be others now
	return s.sweep(ctx, now, func(f policy.Facts) (was, is policy.Decision) { return old.Decide(&f), fresh.Decide(&f) })
}

// turn does the same when a time window opens or closes.
func (s *Service) turn(before, now time.Time) {
	p := s.Policy()
	if !p.Turned(before, now) {
		return
	}
	n, err := s.sweep(context.Background(), now, func(f policy.Facts) (was, is policy.Decision) {
		is = p.Decide(&f)
		f.Now = before
		return p.Decide(&f), is
	})
	s.Logger.Info("time window of the policy", "shortened", n.Shortened, "probation", n.Probation, "rejected", n.Rejected, "error", err)
}

// RetryAfter is when a phone may come back whose binding the policy has put on probation: as it says now. 0 is at once.
func (s *Service) RetryAfter(aor wire.AOR, b *location.Binding) time.Duration {
	f := s.factsOf(aor, b, time.Now())
	if d := s.Policy().Decide(&f); d.Deny != nil {
		return d.Deny.RetryAfter
	}
	return 0
}

// change is what is to be done to one binding.
type change struct {
	why     location.Reason
	contact string
	expires time.Time
}

// sweep compares the decisions for every binding and acts where they differ.
func (s *Service) sweep(ctx context.Context, now time.Time, decide func(policy.Facts) (was, is policy.Decision)) (n Applied, err error) {
	var waiting sync.WaitGroup
	var mu sync.Mutex
	fail := func(_ []location.Binding, e error) {
		if e != nil {
			mu.Lock()
			err = e
			mu.Unlock()
		}
		waiting.Done()
	}
	looked, changed := 0, 0
	s.Bindings.All(func(aor wire.AOR, bindings []location.Binding) bool {
		if looked++; looked%lookEvery == 0 {
			time.Sleep(time.Millisecond) // phones first
		}
		var list []change
		for i := range bindings {
			was, is := decide(s.factsOf(aor, &bindings[i], now))
			if c, concerned := verdict(&bindings[i], &was, &is, now); concerned {
				list = append(list, c)
			}
		}
		for _, why := range []location.Reason{location.Shortened, location.Deactivated, location.Probation, location.Rejected} {
			touched := s.change(aor, why, list, &waiting, fail)
			n.add(why, touched)
			if changed += touched; changed >= batch {
				waiting.Wait()
				changed = 0
			}
		}
		return ctx.Err() == nil
	})
	waiting.Wait()
	mu.Lock()
	defer mu.Unlock()
	if err == nil {
		err = ctx.Err()
	}
	return n, err
}

func (n *Applied) add(why location.Reason, count int) {
	switch why {
	case location.Shortened:
		n.Shortened += count
	case location.Deactivated:
		n.Deactivated += count
	case location.Probation:
		n.Probation += count
	case location.Rejected:
		n.Rejected += count
	}
}

// verdict says what becomes of a binding when the decision about it changes (RFC 3680, 4.7.1): who may not be there any more is rejected, or on probation when
// there is a time to come back; who must prove himself again is deactivated; who may stay for less time is shortened.
func verdict(b *location.Binding, was, is *policy.Decision, now time.Time) (change, bool) {
	c := change{contact: b.Contact.Raw, expires: b.Expires}
	switch {
	case is.Deny != nil && was.Deny != nil:
		return c, false
	case is.Deny != nil && is.Deny.RetryAfter > 0:
		c.why = location.Probation
	case is.Deny != nil:
		c.why = location.Rejected
	case is.Reauthenticate != was.Reauthenticate && is.Reauthenticate > 0 && now.Sub(b.Updated) > is.Reauthenticate:
		c.why = location.Deactivated
	case is.ExpiresMax != was.ExpiresMax && is.ExpiresMax > 0 && b.Expires.Sub(now) > is.ExpiresMax:
		c.why, c.expires = location.Shortened, now.Add(is.ExpiresMax)
	default:
		return c, false
	}
	return c, true
}

// change does to an address what the list has for one reason, and returns to how many bindings.
func (s *Service) change(aor wire.AOR, why location.Reason, list []change, waiting *sync.WaitGroup, done func([]location.Binding, error)) (n int) {
	of := make(map[string]time.Time)
	for _, c := range list {
		if c.why == why {
			of[c.contact] = c.expires
		}
	}
	if len(of) == 0 {
		return 0
	}
	waiting.Add(1)
	s.Bindings.Change(aor, why, func(now []location.Binding) ([]location.Binding, error) {
		var after []location.Binding
		for _, b := range now {
			expires, concerned := of[b.Contact.Raw]
			if concerned && why != location.Shortened {
				continue
			}
			if concerned && expires.Before(b.Expires) {
				b.Expires = expires
			}
			after = append(after, b)
		}
		return after, nil
	}, done)
	return len(of)
}
