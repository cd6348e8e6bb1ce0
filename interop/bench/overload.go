package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// overloadSeconds is how long calls are offered at each rate.
const overloadSeconds = 20

// offered is what became of calls offered at one rate.
type offered struct {
	rate                int
	made, refused, late float64 // calls a second: made, refused, refused after the challenge
	failed              int     // in all: neither made nor refused
	p50, p99            float64 // ms from the INVITE with credentials to its 200
	cpu                 float64 // us of the server a second
	rssMB               float64
}

// overload searches the highest rate at which every call is made, and offers multiples of it, the last one to see whether the server is as before: `make bench-overload`. The
// server gets share per cent of one core, so that SIPp, on the rest of the machine, can offer more than it carries.
func (b *bench) overload(ctx context.Context, share, from int, best float64, times []string) error {
	srv := b.signalbox()
	if err := srv.start(ctx); err != nil {
		return err
	}
	undo := func() {}
	defer func() { srv.stop(); undo() }()
	if _, err := b.run(ctx, srv, "registration", 1000); err != nil {
		return err
	}
	var err error
	if undo, err = confine(srv.cmd.Process.Pid, share); err != nil {
		return fmt.Errorf("the server cannot be confined to %d %% of a core: %w", share, err)
	}

	fmt.Printf("\nThe server has %d %% of one core; calls are offered for %d s at each rate.\n", share, overloadSeconds)
	fmt.Printf("\n| offered/s | of the best | made/s | refused/s | refused after the challenge/s | failed in all | p50 / p99 ms | server CPU | RSS MB |\n|---|---|---|---|---|---|---|---|---|\n")
	if best == 0 {
		if best, err = b.search(ctx, srv, from); err != nil {
			return err
		}
	}
	for _, each := range times {
		multiple, err := strconv.ParseFloat(each, 64)
		if err != nil {
			return fmt.Errorf("times: %w", err)
		}
		o, err := b.offer(ctx, srv, int(math.Round(multiple*best)))
		if err != nil {
			return err
		}
		o.print(multiple)
	}
	return nil
}

// search offers more and more calls until one is not made, and returns the highest rate at which all were.
func (b *bench) search(ctx context.Context, srv server, from int) (best float64, err error) {
	for rate := from; ; rate = rate*6/5 + 1 {
		o, err := b.offer(ctx, srv, rate)
		if err != nil {
			return 0, err
		}
		o.print(0)
		if o.failed > 0 || o.refused+o.late > 0 {
			return best, nil
		}
		best = o.made
	}
}

func (o *offered) print(times float64) {
	of := "-"
	if times > 0 {
		of = fmt.Sprintf("%g x", times)
	}
	fmt.Printf("| %d | %s | %.0f | %.0f | %.0f | %d | %.0f / %.0f | %.0f %% | %.0f |\n", o.rate, of, o.made, o.refused, o.late, o.failed, o.p50, o.p99, o.cpu/1e4, o.rssMB)
}

// offer makes calls at a rate.
func (b *bench) offer(ctx context.Context, s server, rate int) (o offered, err error) {
	scenario := func(name string) string { return filepath.Join(b.repo, "interop/sipp", name) }
	target := fmt.Sprintf("127.0.0.1:%d", s.port)
	answer := exec.CommandContext(ctx, "sipp", target, "-i", "127.0.0.1", "-p", strconv.Itoa(b.callee), "-sf", scenario("answer.xml"), "-key", "contact", fmt.Sprintf("127.0.0.1:%d", b.callee), "-buff_size", "4000000", "-nostdin")
	answer.Dir = b.dir
	if err := answer.Start(); err != nil {
		return o, err
	}
	defer func() { answer.Process.Kill(); answer.Wait() }()
	if err := listening(b.callee); err != nil {
		return o, err
	}
	stats := b.path("overload.csv")
	os.Remove(stats)
	b.rtt() // forgets what is left of an earlier run
	calls := rate * overloadSeconds
	sipp := exec.CommandContext(ctx, "sipp", target, "-i", "127.0.0.1", "-p", strconv.Itoa(b.caller), "-sf", scenario("call_overload.xml"), "-inf", b.path("call.csv"), "-key", "domain", domain, "-key", "contact", fmt.Sprintf("127.0.0.1:%d", b.caller),
		"-d", "0", "-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-l", "100000", "-buff_size", "4000000", "-nostdin", "-timeout", strconv.Itoa(overloadSeconds+35)+"s", "-trace_rtt", "-rtt_freq", "1", "-trace_stat", "-stf", stats, "-fd", "1")
	sipp.Dir = b.dir
	begin, before := time.Now(), s.cpu()
	var exit *exec.ExitError
	if err := sipp.Run(); err != nil && !errors.As(err, &exit) {
		return o, err
	}
	cpu, took := s.cpu()-before, max(overloadSeconds, time.Since(begin).Seconds())
	if limit := overloadSeconds + 5.0; took > limit {
		took = overloadSeconds // the rest waited for the last answers
	}
	last, err := lastRow(stats)
	if err != nil {
		return o, err
	}
	o = offered{rate: int(float64(calls) / took), made: last["made"] / took, refused: last["refused"] / took, late: last["late"] / took, cpu: cpu / took}
	o.failed = calls - int(last["made"]+last["refused"]+last["late"])
	o.p50, o.p99 = b.rtt()
	o.rssMB = s.rssMB()
	return o, nil
}

// lastRow reads the cumulative counters from the end of SIPp's statistics.
func lastRow(name string) (map[string]float64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	in := csv.NewReader(strings.NewReader(string(text)))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = ';', -1, true
	rows, err := in.ReadAll()
	if err != nil || len(rows) < 2 {
		return nil, fmt.Errorf("%s: no statistics: %v", name, err)
	}
	row := map[string]float64{}
	for i, column := range rows[0] {
		if i < len(rows[len(rows)-1]) {
			v, _ := strconv.ParseFloat(rows[len(rows)-1][i], 64)
			row[strings.TrimSuffix(column, "(C)")] = v
		}
	}
	return row, nil
}

// confine gives a process a share of one core by a control group; undo takes the group away when the process has ended.
func confine(pid, share int) (undo func(), err error) {
	dir := fmt.Sprintf("/sys/fs/cgroup/cpu/signalbox-bench-%d", pid)
	files := [][2]string{{"cpu.cfs_period_us", "5000"}, {"cpu.cfs_quota_us", strconv.Itoa(50 * share)}}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2
		dir = fmt.Sprintf("/sys/fs/cgroup/signalbox-bench-%d", pid)
		files = [][2]string{{"cpu.max", fmt.Sprintf("%d 5000", 50*share)}}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return func() {}, err
	}
	undo = func() { os.Remove(dir) }
	for _, f := range append(files, [2]string{"cgroup.procs", strconv.Itoa(pid)}) {
		if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(f[1]), 0o644); err != nil {
			return undo, err
		}
	}
	return undo, nil
}
