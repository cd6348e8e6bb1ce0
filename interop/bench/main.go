// Command bench compares Signalbox with Debian's Kamailio on this machine: SIPp registers users, sends messages and makes calls through each in turn,
// at the same offered rate, and the servers' own CPU accounting (/proc/PID/stat) is divided by the work done. `make bench-kamailio` runs it.
// It prints a table in Markdown; docs/bench/kamailio.md holds one.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	users := flag.Int("users", 4000, "users, and operations of each kind per run")
	rounds := flag.Int("rounds", 3, "times each server is measured, in turn")
	low := flag.String("low", "500,500,150", "offered rate of registrations, messages and calls a second, low")
	high := flag.String("high", "3000,2000,600", "the same, high")
	durable := flag.Bool("durable", false, "Signalbox commits every registration to disk before the 200 (Kamailio does not)")
	peak := flag.Bool("peak", false, "also search the highest rate of calls without a failed one, and measure the delay at half of it")
	overload := flag.Bool("overload", false, "offer Signalbox multiples of what it can carry, instead")
	registrations := flag.Bool("registrations", false, "measure durable registrations and a million bindings, instead")
	features := flag.Bool("features", false, "measure what outbound, GRUUs and a policy add to a registration, instead")
	rates := flag.String("rates", "200,500,1000,2000,3000,5000,10000", "offered rates of -registrations; empty leaves them out")
	bindings := flag.Int("bindings", 1_000_000, "how many bindings -registrations loads; 0 leaves that out")
	share := flag.Int("share", 20, "per cent of one core that the overloaded server gets")
	from := flag.Int("from", 100, "first rate of calls that -overload tries, searching for the best")
	best := flag.Float64("best", 0, "the best rate, if it is known: -overload does not search then")
	times := flag.String("times", "1,2,3,0.5", "multiples of the best rate that -overload offers then; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "signalbox-bench")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, users: *users, durable: *durable}
	if err := b.prepare(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.machine())
	if *overload {
		if err := b.overload(ctx, *share, *from, *best, fields(*times)); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *features {
		if err := b.features(ctx, []int{2000}, *rounds); err != nil {
			log.Fatal(err)
		}
		return
	}
	if *registrations {
		if err := b.registrations(ctx, fields(*rates), *bindings); err != nil {
			log.Fatal(err)
		}
		return
	}
	for _, rates := range []string{*low, *high} {
		var r [3]int
		if _, err := fmt.Sscanf(rates, "%d,%d,%d", &r[0], &r[1], &r[2]); err != nil {
			log.Fatalf("rates %q: want three numbers with commas", rates)
		}
		if err := b.compare(ctx, r, *rounds); err != nil {
			log.Fatal(err)
		}
	}
	if *peak {
		if err := b.peaks(ctx); err != nil {
			log.Fatal(err)
		}
	}
}

// fields are the parts between commas.
func fields(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) }

// compare measures both servers in turn, rounds times, and prints medians and the ratios pair by pair.
func (b *bench) compare(ctx context.Context, rates [3]int, rounds int) error {
	kinds := []string{"registration", "message", "call"}
	ours, theirs := map[string][]result{}, map[string][]result{}
	for range rounds {
		for _, s := range []struct {
			server func() server
			into   map[string][]result
		}{{b.kamailio, theirs}, {b.signalbox, ours}} {
			srv := s.server()
			if err := srv.start(ctx); err != nil {
				return err
			}
			for i, kind := range kinds {
				res, err := b.run(ctx, srv, kind, rates[i])
				if err != nil {
					srv.stop()
					return fmt.Errorf("%s: %s: %w", srv.name, kind, err)
				}
				s.into[kind] = append(s.into[kind], res)
			}
			srv.stop()
		}
	}
	fmt.Printf("\n| per operation, offered at %d / %d / %d a second | Kamailio CPU us | Signalbox CPU us | ratio, pair by pair (min, median, max) | failed K / S | out of order K / S | p50 / p99 ms K | p50 / p99 ms S | peak MB K / S |\n|---|---|---|---|---|---|---|---|---|\n", rates[0], rates[1], rates[2])
	for i, kind := range kinds {
		k, s := theirs[kind], ours[kind]
		var ratios []float64
		for j := range k {
			ratios = append(ratios, s[j].cpu/k[j].cpu)
		}
		slices.Sort(ratios)
		fmt.Printf("| %s (%d/s) | %.0f | %.0f | %.2f, **%.2f**, %.2f | %d / %d | %d / %d | %s | %s | %.0f / %.0f |\n", kind, rates[i],
			median(k, cpuOf), median(s, cpuOf), ratios[0], ratios[len(ratios)/2], ratios[len(ratios)-1], sum(k, failedOf), sum(s, failedOf), sum(k, disorderOf), sum(s, disorderOf), latency(k), latency(s), median(k, memOf), median(s, memOf))
	}
	return nil
}

// peaks searches the highest rate of calls of which none fails, for each server, and how long a call takes to ring and to be up at half of that.
func (b *bench) peaks(ctx context.Context) error {
	fmt.Printf("\n| | calls a second without a failed one | p50 / p99 ms from INVITE to 200 at half of it | CPU us a call there | failed there | peak MB |\n|---|---|---|---|---|---|\n")
	for _, server := range []func() server{b.kamailio, b.signalbox} {
		name, best := "", 0
		for low, high := 0, peakCeiling; high-low > peakStep; {
			rate := (low + high) / 2
			res, s, err := b.calls(ctx, server, rate)
			if err != nil {
				return err
			}
			name = s
			if res.failed == 0 {
				low, best = rate, rate
			} else {
				high = rate
			}
		}
		res, _, err := b.calls(ctx, server, max(best/2, 1))
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %d | %s | %.0f | %d | %.0f |\n", name, best, latency([]result{res}), res.cpu, res.failed, res.peakMB)
	}
	return nil
}

// The search for a peak: SIPp itself has no more to give on two cores than the ceiling, and rates closer than a step are the same.
const (
	peakCeiling = 3200
	peakStep    = 50
)

// calls starts a server, registers everybody and makes calls at one rate.
func (b *bench) calls(ctx context.Context, server func() server, rate int) (result, string, error) {
	s := server()
	if err := s.start(ctx); err != nil {
		return result{}, s.name, err
	}
	defer s.stop()
	if _, err := b.run(ctx, s, "registration", 1000); err != nil {
		return result{}, s.name, err
	}
	res, err := b.run(ctx, s, "call", rate)
	return res, s.name, err
}

func cpuOf(r result) float64  { return r.cpu }
func memOf(r result) float64  { return r.peakMB }
func failedOf(r result) int   { return r.failed }
func disorderOf(r result) int { return r.disorder }

func median(rs []result, of func(result) float64) float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func sum(rs []result, of func(result) int) (n int) {
	for _, r := range rs {
		n += of(r)
	}
	return n
}

func latency(rs []result) string {
	p50, p99 := median(rs, func(r result) float64 { return r.p50 }), median(rs, func(r result) float64 { return r.p99 })
	if p99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f / %.1f", p50, p99)
}

func (b *bench) machine() string {
	version := func(name string, args ...string) string {
		out, _ := exec.Command(name, args...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return strings.TrimSpace(line)
	}
	return fmt.Sprintf("%s, %s cores; %s; %s; SIPp from Debian on the same machine; %d users; %s",
		version("uname", "-sr"), version("nproc"), version("go", "version"), version("kamailio", "-v"), b.users, time.Now().Format("2006-01-02"))
}

func repository() string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		log.Fatal("run inside the repository: ", err)
	}
	return filepath.Clean(strings.TrimSpace(string(out)))
}
