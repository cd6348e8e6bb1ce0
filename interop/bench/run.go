package main

import (
	"bufio"
	"context"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // Kamailio's credentials table
)

const domain = "sip.test"

type bench struct {
	dir, repo string
	users     int
	durable   bool
	// writeThrough has Kamailio write each binding to SQLite before its 200 (usrloc, db_mode 1).
	writeThrough bool
	policy       string // of Signalbox; "" is none
	callee       int    // port of the answering SIPp
	caller       int
}

type server struct {
	name string
	port int
	cmd  *exec.Cmd
}

// result is one SIPp run against one server.
type result struct {
	cpu      float64 // microseconds of the server's processes per operation
	failed   int
	disorder int     // calls that failed because a message came that was not to come yet: a 200 before its 180
	p50, p99 float64 // ms
	peakMB   float64
}

// prepare writes the users in the forms SIPp, Kamailio and Signalbox read, and builds Signalbox.
func (b *bench) prepare(ctx context.Context) error {
	b.repo, b.caller, b.callee = repository(), freePort(), freePort()
	for _, tool := range []string{"sipp", "kamailio"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: install sip-tester, kamailio and kamailio-sqlite-modules", err)
		}
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.path("signalbox"), "signalbox/cmd/signalbox").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	db, err := sql.Open("sqlite", b.path("kamailio.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(`create table version(table_name varchar(32), table_version int); insert into version values('ha1', 2);
		create table ha1(id integer primary key, key_name varchar(64), key_type int default 0, value_type int default 0, key_value varchar(128), expires int default 0)`); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	register, call, accounts := []string{"SEQUENTIAL"}, []string{"SEQUENTIAL"}, []string{"username,password"}
	for i := range b.users {
		user, password := fmt.Sprintf("user%05d", i), fmt.Sprintf("pw-%05d", i)
		auth := fmt.Sprintf("[authentication username=%s password=%s]", user, password)
		register = append(register, fmt.Sprintf("%s;%s;", user, auth))
		call = append(call, fmt.Sprintf("%s;%s;user%05d;", user, auth, (i+b.users/2)%b.users))
		accounts = append(accounts, user+","+password)
		ha1 := md5.Sum([]byte(user + ":" + domain + ":" + password))
		if _, err := tx.Exec("insert into ha1(key_name, key_value) values(?, ?)", user, hex.EncodeToString(ha1[:])); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return errors.Join(b.write("register.csv", register...), b.write("call.csv", call...), b.write("users.csv", accounts...))
}

func (b *bench) path(name string) string     { return filepath.Join(b.dir, name) }
func (b *bench) scenario(name string) string { return filepath.Join(b.repo, "interop/sipp", name) }
func (b *bench) write(name string, lines ...string) error {
	return os.WriteFile(b.path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func freePort() int {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func (b *bench) kamailio() server {
	s := server{name: "kamailio", port: freePort()}
	conf, _ := os.ReadFile(filepath.Join(b.repo, "interop/kamailio/kamailio.cfg"))
	text := strings.NewReplacer("DBPATH", b.path("kamailio.db"), "PORT", strconv.Itoa(s.port), "DOMAIN", domain).Replace(string(conf))
	if b.writeThrough {
		text = strings.Replace(text, `modparam("usrloc", "db_mode", 0)`, fmt.Sprintf("modparam(\"usrloc\", \"db_mode\", 1)\nmodparam(\"usrloc\", \"db_url\", \"sqlite:///%s\")", b.path("kamailio.db")), 1)
	}
	b.write("kamailio.cfg", text)
	s.cmd = exec.Command("kamailio", "-f", b.path("kamailio.cfg"), "-DD", "-E", "-m", "512", "-M", "32", "-P", b.path("kamailio.pid"))
	return s
}

func (b *bench) signalbox() server {
	s := server{name: "signalbox", port: freePort()}
	store := "memory"
	if b.durable {
		store = "sqlite"
	}
	os.RemoveAll(b.path("data"))
	config := fmt.Sprintf("domain = %q\n[listen]\nudp = \"127.0.0.1:%d\"\ntcp = \"\"\ntls = \"\"\n[store]\ndatabase = %q\nlocation = %q\n",
		domain, s.port, "sqlite:"+b.path("data/signalbox.db"), store)
	if b.policy != "" {
		b.write("policy.toml", b.policy)
		config += "[policy]\nfile = \"policy.toml\"\n"
	}
	b.write("signalbox.toml", config)
	if out, err := exec.Command(b.path("signalbox"), "user", "import", b.path("users.csv"), "--config", b.path("signalbox.toml")).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("user import: %v\n%s", err, out))
	}
	s.cmd = exec.Command(b.path("signalbox"), "serve", "--config", b.path("signalbox.toml"))
	return s
}

// start waits until the server answers OPTIONS.
func (s *server) start(ctx context.Context) error {
	logfile, err := os.CreateTemp("", s.name+"-*.log")
	if err != nil {
		return err
	}
	s.cmd.Stdout, s.cmd.Stderr = logfile, logfile
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 1200 { // a million bindings take a while to be read
		fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKready%d\r\nMax-Forwards: 0\r\nFrom: <sip:ready@%s>;tag=r\r\nTo: <sip:%s>\r\nCall-ID: ready%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", domain, c.LocalAddr(), i, domain, domain, i)
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(make([]byte, 2048)); err == nil && n > 0 {
			return nil
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			select { // refused: nobody listens yet
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	s.stop()
	return fmt.Errorf("%s does not answer; see %s", s.name, logfile.Name())
}

func (s *server) stop() {
	if s.cmd.Process != nil {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.cmd.Wait()
	}
}

// processes of the server: its process group.
func (s *server) processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := stat(pid); len(f) > 2 && f[2] == strconv.Itoa(s.cmd.Process.Pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stat returns the fields of /proc/PID/stat after the command name: state ppid pgrp ...
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)
}

// cpu is user and system time so far, in microseconds, to the nanosecond resolution of schedstat where the kernel has it.
func (s *server) cpu() (us float64) {
	for _, pid := range s.processes() {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range tasks {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name())); err == nil {
				ns, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
				us += ns / 1000
			}
		}
	}
	return us
}

func (s *server) peakMB() float64 { return s.memory("VmHWM:") }
func (s *server) rssMB() float64  { return s.memory("VmRSS:") }

// memory adds up a figure of /proc/PID/status.
func (s *server) memory(figure string) (mb float64) {
	for _, pid := range s.processes() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			if v, ok := strings.CutPrefix(in.Text(), figure); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
				mb += kb / 1024
			}
		}
		f.Close()
	}
	return mb
}

// run is one SIPp run of users operations.
func (b *bench) run(ctx context.Context, s server, kind string, rate int) (result, error) {
	script := map[string][3]string{"registration": {"register.xml", "register.csv", ""}, "message": {"message.xml", "call.csv", "inbox.xml"}, "call": {"call.xml", "call.csv", "answer.xml"}}[kind]
	target := fmt.Sprintf("127.0.0.1:%d", s.port)
	if script[2] != "" {
		answer := exec.CommandContext(ctx, "sipp", target, "-i", "127.0.0.1", "-p", strconv.Itoa(b.callee), "-sf", b.scenario(script[2]), "-key", "contact", fmt.Sprintf("127.0.0.1:%d", b.callee), "-nostdin")
		if err := answer.Start(); err != nil {
			return result{}, err
		}
		defer func() { answer.Process.Kill(); answer.Wait() }()
		if err := listening(b.callee); err != nil {
			return result{}, err
		}
	}
	contact := fmt.Sprintf("127.0.0.1:%d", b.caller)
	if kind == "registration" {
		contact = fmt.Sprintf("127.0.0.1:%d", b.callee)
	}
	return b.play(ctx, s, script[0], script[1], contact, rate)
}

// play runs a scenario once for every user, and measures the server meanwhile.
func (b *bench) play(ctx context.Context, s server, script, users, contact string, rate int, more ...string) (result, error) {
	before := s.cpu()
	args := append([]string{fmt.Sprintf("127.0.0.1:%d", s.port), "-i", "127.0.0.1", "-p", strconv.Itoa(b.caller), "-sf", b.scenario(script), "-inf", b.path(users), "-key", "domain", domain, "-key", "contact", contact, "-key", "cparams", "",
		"-d", "0", "-m", strconv.Itoa(b.users), "-r", strconv.Itoa(rate), "-l", "20000", "-buff_size", "4000000", "-nostdin", "-timeout", "120s", "-trace_rtt", "-rtt_freq", "1", "-trace_screen", "-screen_file", b.path("screen.log"), "-trace_stat", "-stf", b.path("stat.csv")}, more...)
	sipp := exec.CommandContext(ctx, "sipp", args...)
	sipp.Dir = b.dir
	err := sipp.Run()
	res := result{cpu: (s.cpu() - before) / float64(b.users), peakMB: s.peakMB()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return res, err
	}
	screen, _ := os.ReadFile(b.path("screen.log"))
	res.failed = -1
	for line := range strings.Lines(string(screen)) {
		if f := strings.Split(line, "|"); len(f) == 3 && strings.TrimSpace(f[0]) == "Failed call" {
			res.failed, _ = strconv.Atoi(strings.TrimSpace(f[2]))
		}
	}
	if res.failed < 0 {
		return res, fmt.Errorf("sipp printed no result: %w", err)
	}
	res.disorder = b.statistic("FailedUnexpectedMessage(C)")
	res.p50, res.p99 = b.rtt()
	return res, nil
}

// statistic reads one of SIPp's counters as it stood at the end.
func (b *bench) statistic(name string) int {
	data, _ := os.ReadFile(b.path("stat.csv"))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	column := slices.Index(strings.Split(lines[0], ";"), name)
	last := strings.Split(lines[len(lines)-1], ";")
	if column < 0 || column >= len(last) {
		return -1
	}
	n, _ := strconv.Atoi(last[column])
	return n
}

// listening waits until somebody has bound the UDP port.
func listening(port int) error {
	for range 100 {
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return nil
		}
		c.Close()
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("nobody listens on %d", port)
}

// rtt reads SIPp's response times: post-dial delay of calls.
func (b *bench) rtt() (p50, p99 float64) {
	files, _ := filepath.Glob(b.path("*_rtt.csv"))
	var ms []float64
	for _, name := range files {
		data, _ := os.ReadFile(name)
		os.Remove(name)
		for line := range strings.Lines(string(data)) {
			if f := strings.Split(strings.TrimSpace(line), ";"); len(f) >= 2 {
				if v, err := strconv.ParseFloat(f[1], 64); err == nil {
					ms = append(ms, v)
				}
			}
		}
	}
	if len(ms) == 0 {
		return 0, 0
	}
	slices.Sort(ms)
	return ms[len(ms)/2], ms[len(ms)*99/100]
}
