package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// faults makes system calls of the running program fail with EIO, as a disk does that dies, as long as they are for files of the database.
// strace changes what the kernel says; the program itself is the one that is shipped.
func (s *victim) faults(calls string) (end func()) {
	s.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		s.t.Skip("SKIPPED: strace is not installed: a disk that fails")
	}
	var said bytes.Buffer
	args := []string{"-f", "-p", strconv.Itoa(s.cmd.Process.Pid), "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=EIO", "-o", "/dev/null"}
	for _, suffix := range []string{"", "-wal"} {
		args = append(args, "-P", s.database()+suffix)
	}
	cmd := exec.Command("strace", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := false
	end = func() {
		if done {
			return
		}
		done = true
		_ = cmd.Process.Signal(os.Interrupt) // it lets the program go
		_ = cmd.Wait()
		if strings.Contains(said.String(), "Operation not permitted") {
			s.t.Skipf("SKIPPED: strace may not trace here: %s", said.String())
		}
	}
	s.t.Cleanup(end)
	return end
}

// Figure 10: on a disk that answers EIO, to writes or only when it is asked to sync, a registration is refused with 500 or 503, never answered 200 without being kept; the program says
// so in its log, goes on with calls and messages, and with registrations as soon as the disk works again. What was acknowledged is there after kill -9. RFC 3261, 10.3 step 8
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	for name, calls := range map[string]string{"write": "pwrite64,write", "sync": "fsync,fdatasync"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const enough = 20
			users := manyUsers(500)
			s := newVictim(t, "", "", users...)
			acknowledged := map[string]bool{}
			bob, u := s.dial("udp", users[0]), s.dial("udp", "")
			if code := bob.registerAs(users[0]); code != 200 {
				t.Fatalf("with a good disk: %d", code)
			}
			acknowledged[users[0]] = true

			end := s.faults(calls)
			next, refused := 1, 0
			for ; next < len(users) && refused < enough; next++ {
				switch code := u.registerAs(users[next]); code {
				case 200: // strace has not attached to all threads yet
					acknowledged[users[next]] = true
				case 500, 503:
					refused++
				default:
					t.Fatalf("the disk fails: %d", code)
				}
			}
			if refused < enough {
				end() // skips if it could not attach
				t.Fatal("nothing ever failed")
			}
			if err := s.served("tcp"); err != nil {
				t.Errorf("the disk fails: %v", err)
			}
			alice := s.dial("tcp", users[next-1])
			heard := make(chan struct{})
			go func() { defer close(heard); bob.await("MESSAGE", 20*time.Second) }()
			if res := alice.insist("MESSAGE", "sip:"+users[0]+"@"+domain); res.code() != 200 {
				t.Errorf("the disk fails: MESSAGE: %s", res.start)
			}
			<-heard
			if text := s.out.String(); !strings.Contains(text, "registrations could not be stored") {
				t.Errorf("the log says nothing of it:\n%s", text)
			}
			known := s.registered()
			for _, user := range users {
				if known[user] != acknowledged[user] {
					t.Errorf("%s: acknowledged %v, there %v", user, acknowledged[user], known[user])
				}
			}

			end()
			s.settles("registrations after the disk works again", func() bool {
				next++
				return u.registerAs(users[next]) == 200
			})
			acknowledged[users[next]] = true
			s.kill()
			if verdict := integrity(t, filepath.Clean(s.database())); verdict != "ok" {
				t.Errorf("the database: %s", verdict)
			}
			s.start()
			known = s.registered()
			for user := range acknowledged {
				if !known[user] {
					t.Errorf("%s was acknowledged and is lost", user)
				}
			}
			t.Logf("%d acknowledged, %d refused", len(acknowledged), refused)
		})
	}
}
