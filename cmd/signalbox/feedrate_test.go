package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"signalbox/internal/database"
	"signalbox/internal/wire"
	"signalbox/location"
)

// BenchmarkFeedRate offers new registrations, each of which is an event, at a fixed rate, with the event feed and without: what one costs in CPU, and how long it takes until it
// is on disk.
func BenchmarkFeedRate(b *testing.B) {
	for _, fed := range []bool{false, true} {
		b.Run(fmt.Sprintf("rate=2000/feed=%v", fed), func(b *testing.B) {
			const rate = 2000
			db, err := database.Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			j, err := db.Journal(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close(context.Background())
			c := location.Config{Changed: func(wire.AOR, []location.Binding, []location.Binding, location.Reason) {}}
			if fed {
				c.Changed = feed{j}.changed
			}
			s, err := location.Open(db.SQL(), c)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(context.Background())
			took := make([]time.Duration, b.N)
			one := feedBinding("sip:alice@192.0.2.1:5060")
			var wg sync.WaitGroup
			wg.Add(b.N)
			b.ResetTimer()
			cpu, begin := cpuTime(), time.Now()
			for sent := 0; sent < b.N; time.Sleep(2 * time.Millisecond) {
				for due := int(time.Since(begin).Seconds() * rate); sent < min(due, b.N); sent++ {
					i, at := sent, time.Now()
					s.Update(wire.AOR{User: fmt.Sprint(i), Host: "example.org"}, func([]location.Binding) ([]location.Binding, error) {
						return []location.Binding{one}, nil
					}, func(_ []location.Binding, err error) {
						if err != nil {
							b.Error(err)
						}
						took[i] = time.Since(at)
						wg.Done()
					})
				}
			}
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(took[b.N/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(took[b.N*99/100].Seconds()*1000, "p99-ms")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
