package login

import (
	"time"

	"signalbox/internal/database"
	"signalbox/internal/policy"
	"signalbox/location"
)

// due does what its time has come for: scheduled starts and ends, idle logins, and those whose device did not come back. It is the clerk's.
func (s *Service) due(now time.Time) {
	s.mu.Lock()
	early := now.Before(s.next)
	s.mu.Unlock()
	if early || !s.Store.Any() {
		return
	}
	next := now.Add(time.Hour)
	for _, l := range s.Store.Logins() {
		at := s.dueLogin(l, now)
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	s.mu.Lock()
	s.next = next
	s.mu.Unlock()
}

// dueLogin looks after one login and says when to look again.
func (s *Service) dueLogin(l database.Login, now time.Time) (next time.Time) {
	if l.Start.After(now) {
		return l.Start
	}
	if !l.End.IsZero() && !now.Before(l.End) {
		s.finish(l, Ended)
		return time.Time{}
	}
	f := s.facts(l, now)
	d := s.Policy().Decide(&f)
	s.mu.Lock()
	seen, lost := s.seen[pairOf(l)], s.lost[pairOf(l)]
	s.mu.Unlock()
	if seen.Before(l.Start) {
		seen = l.Start
	}
	next = l.End
	for _, limit := range []struct {
		from     time.Time
		after    time.Duration
		happened Event
	}{{l.Start, d.Longest, Ended}, {seen, d.Idle, Idle}, {lost, d.Grace, Expired}} {
		if limit.from.IsZero() || limit.after == 0 && limit.happened != Expired {
			continue
		}
		at := limit.from.Add(limit.after)
		if !now.Before(at) {
			s.finish(l, limit.happened)
			return time.Time{}
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if _, bound := s.binding(l.User, l.Device); bound {
		return next
	}
	if l.Method == policy.ByAdmin.String() {
		s.mirrorLogin(l, now, func(error) {})
	} else if now.Sub(l.Start) > orphanAge && lost.IsZero() {
		s.gone(l.User, l.Device, "") // its binding expired while we were not running
		return now.Add(d.Grace)
	}
	return next
}

// finish ends a login whose time has come.
func (s *Service) finish(l database.Login, happened Event) {
	s.end(l, happened, location.Rejected, func(err error) {
		if err != nil {
			s.Logger.Error("login could not be ended", "user", l.User.String(), "device", l.Device.String(), "error", err)
		}
	})
}
