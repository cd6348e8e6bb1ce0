package main

import (
	"testing"
	"time"
)

// The time of a line is to the millisecond, in the zone of the machine, as slog writes it.
func TestAppendTime(t *testing.T) {
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -3*3600)} {
		for _, ns := range []int{0, 7_999_999, 89_000_000, 999_999_999} {
			at := time.Date(2026, 1, 2, 3, 4, 5, ns, zone)
			if got, want := string(appendTime([]byte("at "), at)), "at "+at.Format("2006-01-02T15:04:05.000Z07:00"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}
