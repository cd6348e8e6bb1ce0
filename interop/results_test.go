package interop

import (
	"flag"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write RESULTS.md from what passed")

// results collects what passed, for RESULTS.md.
var results table

type table struct {
	mu   sync.Mutex
	rows map[[3]string]map[string]bool // peer, what, with -> transports
}

func (r *table) passed(t *testing.T, peer, shows, with, transport string) {
	if t.Failed() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = map[[3]string]map[string]bool{}
	}
	key := [3]string{peer, shows, with}
	if r.rows[key] == nil {
		r.rows[key] = map[string]bool{}
	}
	r.rows[key][transport] = true
}

func (r *table) markdown() string {
	var lines []string
	for key, over := range r.rows {
		cells := ""
		for _, tr := range append(transports[:len(transports):len(transports)], "ws", "wss") {
			if over[tr] {
				cells += " passes |"
			} else {
				cells += "  |"
			}
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s |%s\n", key[0], key[1], key[2], cells))
	}
	sort.Strings(lines)
	return "# Interoperability\n\nWritten by `go test ./interop -update` from what passed against the real program; an empty cell was not tried: losing messages needs UDP, and a phone is tried over the transports it is used with.\n\n" +
		"| Peer | Story | Scenario | UDP | TCP | TLS | WS | WSS |\n|---|---|---|---|---|---|---|---|\n" + strings.Join(lines, "")
}

// check runs when all tests have: a story that passed must stand in RESULTS.md.
func (r *table) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *update {
		return os.WriteFile("RESULTS.md", []byte(r.markdown()), 0o644)
	}
	have, err := os.ReadFile("RESULTS.md")
	if err != nil {
		return err
	}
	var lacks strings.Builder
	for line := range strings.Lines(r.markdown()) {
		if !strings.Contains(string(have), line) {
			lacks.WriteString(line)
		}
	}
	if lacks.Len() > 0 {
		return fmt.Errorf("RESULTS.md is out of date (go test ./interop -update): it lacks\n%s", lacks.String())
	}
	return nil
}

// silence binds a port for the time of the test and answers nothing.
func silence(t *testing.T, proto, addr string) {
	t.Helper()
	if proto == "udp" {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
}
