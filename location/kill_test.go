package location

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// childEnv, when set, makes the test binary the process that TestKill kills; it holds the path of the database.
const childEnv = "SIGNALBOX_LOCATION_CHILD"

const killUsers = 64

// child registers users again and again and prints each update that was acknowledged, until it is killed.
func child(path string) {
	db, err := sqlOpen(path)
	if err != nil {
		panic(err)
	}
	s, err := Open(db, Config{})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	for seq := nextSeq(s); ; seq += killUsers {
		var wg sync.WaitGroup
		for i := range killUsers {
			wg.Add(1)
			// Every eighth user goes away every second time.
			b := []Binding{phone(i, uint32(seq+i))}
			if i%8 == 0 && seq/killUsers%2 == 1 {
				b = nil
			}
			s.Update(user(i), set(b...), func(_ []Binding, err error) {
				if err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Println(i, seq+i, len(b)) // a line is one write
				mu.Unlock()
				wg.Done()
			})
		}
		wg.Wait()
	}
}

func nextSeq(s *Service) int {
	next := 0
	for _, bs := range s.All {
		next = max(next, int(bs[0].CSeq))
	}
	return (next/killUsers + 1) * killUsers
}

// hardening figure 8: after kill -9 at any moment everything that was acknowledged is there, and the file is sound.
func TestKill(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	path := filepath.Join(t.TempDir(), "x.db")
	acked := make([]struct{ seq, n int }, killUsers)
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment is one of the child's progress, not of time: after so many lines.
		die, lines := 1+rand.IntN(2000), 0
		for in := bufio.NewScanner(out); in.Scan(); {
			var i, seq, n int
			if _, err := fmt.Sscan(in.Text(), &i, &seq, &n); err != nil {
				t.Fatalf("%q: %v", in.Text(), err)
			}
			acked[i].seq, acked[i].n = seq, n
			if lines++; lines == die {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		verify(t, path, acked)
	}
}

func verify(t *testing.T, path string, acked []struct{ seq, n int }) {
	t.Helper()
	db, err := sqlOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var check string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Fatalf("integrity_check: %s, %v", check, err)
	}
	s, err := Open(db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for i, want := range acked {
		bs := s.Lookup(user(i))
		// What was written but not acknowledged may be there: a later registration, or that the user went away.
		switch got := lastSeq(bs); {
		case len(bs) == 1 && got >= want.seq+1-want.n:
		case len(bs) == 0 && (want.n == 0 || i%8 == 0):
		default:
			t.Errorf("user %d: acknowledged CSeq %d with %d bindings, found %d with %d", i, want.seq, want.n, got, len(bs))
		}
	}
}

func lastSeq(bs []Binding) int {
	if len(bs) == 0 {
		return 0
	}
	return int(bs[0].CSeq)
}
