package interop

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // looks at what a power cut has left
)

var soak = flag.Int("soak", 3, "rounds of kill -9 and of power cuts (make soak: 200)")

func manyUsers(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("user%04d", i))
	}
	return users
}

// registerAs registers a user, each time another, and says how that ended.
func (u *ua) registerAs(user string) int {
	u.t.Helper()
	u.user = user
	return u.insist("REGISTER", "sip:"+domain, "Call-ID: "+user, "Expires: 3600").code()
}

// registered are the users the program knows a contact of.
func (s *victim) registered() map[string]bool {
	s.t.Helper()
	var list []struct {
		AOR      string
		Contacts []struct{}
	}
	s.api("/v1/registrations", &list)
	known := map[string]bool{}
	for _, r := range list {
		if user, _, _ := strings.Cut(strings.TrimPrefix(r.AOR, "sip:"), "@"); len(r.Contacts) > 0 {
			known[user] = true
		}
	}
	return known
}

// Figure 10: on a disk that is full a registration is answered 500 or 503, never 200 without being kept; calls and messages go on; when there is space again, so do registrations.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	users := manyUsers(3000)
	s := prepareVictim(t, "", "", users...)
	small := filepath.Join(s.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("SKIPPED: a file system of our own needs root: %v", err)
	}
	t.Cleanup(func() {
		s.stop()
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	copyDir(t, filepath.Dir(s.database()), small)
	conf, _ := os.ReadFile(s.conf)
	s.file("signalbox.toml", string(replaceOnce(t, conf, "sqlite:data/", "sqlite:small/")))
	s.start()

	bob := s.dial("udp", users[0])
	if code := bob.registerAs(users[0]); code != 200 {
		t.Fatalf("with space: %d", code)
	}
	acknowledged := map[string]bool{users[0]: true}
	filler, err := os.Create(filepath.Join(small, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := filler.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	filler.Close()
	u := s.dial("udp", "")
	next, failed := 1, 0
	for ; next < len(users) && failed < 20; next++ { // what the write-ahead log has room for is still stored
		switch code := u.registerAs(users[next]); code {
		case 200:
			acknowledged[users[next]] = true
		case 500, 503:
			failed++
		default:
			t.Fatalf("disk full: %d", code)
		}
	}
	if failed < 20 {
		t.Fatal("the disk was never full")
	}
	if err := s.served("tcp"); err != nil {
		t.Errorf("disk full: %v", err)
	}
	alice := s.dial("tcp", users[1])
	heard := make(chan struct{})
	go func() { defer close(heard); bob.await("MESSAGE", 20*time.Second) }()
	if res := alice.insist("MESSAGE", "sip:"+users[0]+"@"+domain); res.code() != 200 {
		t.Errorf("disk full: MESSAGE: %s", res.start)
	}
	<-heard
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	recovered := false
	for tries := 0; next < len(users) && tries < 100 && !recovered; tries++ {
		if recovered = u.registerAs(users[next]) == 200; recovered {
			acknowledged[users[next]] = true
		} else {
			time.Sleep(100 * time.Millisecond)
		}
	}
	if !recovered {
		t.Error("there is space again, but registrations are still refused")
	}
	s.kill()
	s.start()
	known := s.registered()
	for user := range acknowledged {
		if !known[user] {
			t.Errorf("%s was acknowledged and is lost", user)
		}
	}
	t.Logf("%d acknowledged, %d refused", len(acknowledged), failed)
}

// crowd is how many phones register at once: commits are under way at every moment, and each has several registrations in it.
const crowd = 24

// crowdRegisters registers one user after the other from several phones until stop is closed; acknowledged are those who heard a 200.
func (s *victim) crowdRegisters(users []string, acknowledged *sync.Map) (stop func()) {
	end := make(chan struct{})
	var phones sync.WaitGroup
	var next atomic.Int64
	for range crowd {
		phones.Go(func() {
			u := s.dial("udp", "")
			for {
				select {
				case <-end:
					return
				default:
				}
				i := int(next.Add(1)) - 1
				if i >= len(users) {
					return
				}
				if u.tryRegister(users[i]) {
					acknowledged.Store(users[i], true)
				}
			}
		})
	}
	return func() { close(end); phones.Wait() }
}

// tryRegister is registerAs for a server that may be gone: nothing is waited for longer than a second.
func (u *ua) tryRegister(user string) bool {
	u.user = user
	m := u.request("REGISTER", "sip:"+domain, "Call-ID: "+user, "Expires: 3600")
	for range 2 {
		if _, err := u.conn.Write(m.bytes()); err != nil {
			return false
		}
		_ = u.conn.SetReadDeadline(time.Now().Add(time.Second))
		res, err := u.message()
		switch {
		case err != nil || res.get("Call-ID") != user:
			return false
		case res.code() == 401:
			m = u.request("REGISTER", "sip:"+domain, "Call-ID: "+user, "Expires: 3600", "Authorization: "+u.answer(res.get("WWW-Authenticate"), "REGISTER", "sip:"+domain))
		default:
			return res.code() == 200
		}
	}
	return false
}

// Figure 8: kill -9 at a random moment under registrations loses none that was acknowledged. RFC 3261, 10.3 step 8
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "", manyUsers(5000)...)
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var acknowledged sync.Map
	for round := range *soak {
		users := manyUsers(5000)
		rng.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
		stop := s.crowdRegisters(users, &acknowledged)
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		s.kill()
		stop()
		copied := filepath.Join(s.dir, fmt.Sprintf("killed%d", round)) // opening the files would mend them
		if err := os.Mkdir(copied, 0o700); err != nil {
			t.Fatal(err)
		}
		copyDir(t, filepath.Dir(s.database()), copied)
		if ok := integrity(t, filepath.Join(copied, filepath.Base(s.database()))); ok != "ok" {
			t.Errorf("round %d: integrity_check says %s", round, ok)
		}
		os.RemoveAll(copied)
		s.start()
		known, n := s.registered(), 0
		acknowledged.Range(func(user, _ any) bool {
			if n++; !known[user.(string)] {
				t.Errorf("round %d: %s was acknowledged and is lost", round, user)
			}
			return true
		})
		if round == *soak-1 {
			t.Logf("%d rounds, %d users acknowledged", *soak, n)
		}
	}
}

// Figure 9: what a power cut leaves (the files of one instant, the end of the write-ahead log torn off or garbled) opens, is whole, and has all that was on disk before the cut.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := newVictim(t, "", "", manyUsers(5000)...)
	rng := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	live := s.conf
	for round := range *soak {
		users := manyUsers(5000)
		rng.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
		var acknowledged sync.Map
		stop := s.crowdRegisters(users, &acknowledged)
		time.Sleep(time.Duration(100+rng.IntN(300)) * time.Millisecond)
		if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		before := map[string]bool{}
		acknowledged.Range(func(user, _ any) bool { before[user.(string)] = true; return true })
		// Each cut is a copy of the files; the original goes on afterwards.
		cuts := map[string]func(wal []byte) []byte{
			"whole":    func(wal []byte) []byte { return wal },
			"garbage":  func(wal []byte) []byte { return append(wal, make([]byte, 3000)...) },
			"torn":     func(wal []byte) []byte { return wal[:len(wal)-min(len(wal), 1+rng.IntN(8000))] },
			"torn off": func([]byte) []byte { return nil },
		}
		for name, cut := range cuts {
			dir := filepath.Join(s.dir, fmt.Sprintf("cut%d%s", round, strings.ReplaceAll(name, " ", "")))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			copyDir(t, filepath.Dir(s.database()), dir)
			wal := filepath.Join(dir, "signalbox.db-wal")
			if b, err := os.ReadFile(wal); err == nil {
				if err := os.WriteFile(wal, cut(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		stop()
		s.stop()
		for name := range cuts {
			base := fmt.Sprintf("cut%d%s", round, strings.ReplaceAll(name, " ", ""))
			conf, _ := os.ReadFile(live)
			s.file("signalbox.toml", string(replaceOnce(t, conf, "sqlite:data/", "sqlite:"+base+"/")))
			s.start()
			known := s.registered()
			s.stop()
			if ok := integrity(t, s.database()); ok != "ok" {
				t.Errorf("%s: integrity_check says %s", name, ok)
			}
			if name == "whole" || name == "garbage" {
				for user := range before {
					if !known[user] {
						t.Errorf("%s: %s was acknowledged and is lost", name, user)
					}
				}
			}
			s.file("signalbox.toml", string(conf))
			os.RemoveAll(filepath.Join(s.dir, base))
		}
		s.start()
	}
}

func integrity(t *testing.T, path string) (verdict string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("pragma integrity_check").Scan(&verdict); err != nil {
		t.Error(err)
	}
	return verdict
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
