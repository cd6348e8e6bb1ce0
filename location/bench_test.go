package location

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"signalbox/internal/wire"
)

func user(i int) wire.AOR { return wire.AOR{User: fmt.Sprintf("user%07d", i), Host: "example.org"} }

// phone makes the binding of user i, as different from others as real ones are.
func phone(i int, cseq uint32) Binding {
	b := contact(fmt.Sprintf("sip:user%07d@192.0.2.7:%d;ob", i, 1024+i%60000), time.Hour)
	b.InstanceID = fmt.Sprintf("<urn:uuid:%08x-0000-1000-8000-%012x>", i, i)
	b.Params = `;+sip.instance="` + b.InstanceID + `";reg-id=1`
	b.CallID = fmt.Sprintf("%032x", i)
	b.CSeq = cseq
	return b
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 4000, 100_000} {
		b.Run(fmt.Sprintf("of=%d", n), func(b *testing.B) {
			s := start(b, nil, Config{})
			defer stop(b, s)
			aors := make([]wire.AOR, n)
			for i := range n {
				aors[i] = user(i)
				s.Update(aors[i], set(phone(i, 1)), func([]Binding, error) {})
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Lookup(aors[i%n])
				i += 7
			}
		})
	}
}

func BenchmarkUpdateVolatile(b *testing.B) {
	const n = 4000
	s := start(b, nil, Config{})
	defer stop(b, s)
	aors, phones := make([]wire.AOR, n), make([]Binding, n)
	for i := range n {
		aors[i], phones[i] = user(i), phone(i, 1)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		next := phones[i%n : i%n+1]
		next[0].CSeq++
		s.Update(aors[i%n], func([]Binding) ([]Binding, error) { return next, nil }, func([]Binding, error) {})
		i++
	}
}

// BenchmarkUpdateRate offers durable updates at a fixed rate and reports what one costs in CPU, and how long it takes.
func BenchmarkUpdateRate(b *testing.B) {
	for _, rate := range []int{500, 2000, 10000} {
		for _, users := range []int{4000, 100_000} {
			b.Run(fmt.Sprintf("rate=%d/users=%d", rate, users), func(b *testing.B) {
				db := openSQL(b, filepath.Join(b.TempDir(), "x.db"))
				s, err := Open(db, Config{})
				if err != nil {
					b.Fatal(err)
				}
				fill(b, s, 0, users)
				aors, phones := make([]wire.AOR, users), make([]Binding, users)
				for i := range users {
					aors[i], phones[i] = user(i), phone(i, 1)
				}
				took := make([]time.Duration, b.N)
				var wg sync.WaitGroup
				wg.Add(b.N)
				b.ResetTimer()
				cpu, begin := cpuTime(), time.Now()
				const step = 2 * time.Millisecond
				for sent := 0; sent < b.N; time.Sleep(step) {
					for due := int(time.Since(begin).Seconds() * float64(rate)); sent < min(due, b.N); sent++ {
						next := phones[sent%users : sent%users+1]
						next[0].CSeq++
						i, at := sent, time.Now()
						s.Update(aors[i%users], func([]Binding) ([]Binding, error) { return next, nil }, func(_ []Binding, err error) {
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
				b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "ops/s")
				b.ReportMetric(took[b.N/2].Seconds()*1000, "p50-ms")
				b.ReportMetric(took[b.N*99/100].Seconds()*1000, "p99-ms")
				b.ReportMetric(took[b.N-1].Seconds()*1000, "max-ms")
				stop(b, s)
			})
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill registers users from to to, as fast as they go.
func fill(b *testing.B, s *Service, from, to int) {
	b.Helper()
	room := make(chan struct{}, MaxPending/2)
	for i := from; i < to; i++ {
		room <- struct{}{}
		s.Update(user(i), set(phone(i, 1)), func(_ []Binding, err error) {
			if err != nil {
				b.Error(err)
			}
			<-room
		})
	}
	for range cap(room) {
		room <- struct{}{}
	}
}

// BenchmarkMillion reports what a million bindings cost: to load, in memory, to look up. One run takes about a minute.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	db := openSQL(b, filepath.Join(b.TempDir(), "x.db"))
	s, err := Open(db, Config{})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, 0, n)
	stop(b, s)
	s = nil
	aors := make([]wire.AOR, 1000)
	for i := range aors {
		aors[i] = user(i * (n / 1000))
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, begin := heap(), time.Now()
	if s, err = Open(db, Config{}); err != nil {
		b.Fatal(err)
	}
	load, size := time.Since(begin).Seconds(), float64(heap()-before)/n
	if s.Len() != n {
		b.Fatalf("%d bindings", s.Len())
	}
	i := 0
	for b.Loop() {
		if len(s.Lookup(aors[i%len(aors)])) != 1 {
			b.Fatal("not found")
		}
		i++
	}
	b.ReportMetric(load, "load-s")
	b.ReportMetric(size, "B/binding")
	stop(b, s)
}
