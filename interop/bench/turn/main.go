// Command turn measures the CPU of a relayed datagram: Signalbox and coturn in turn, the same load from coturn's own client. `make bench-turn` runs it.
//
//	go run ./interop/bench/turn [-rounds 3] [-clients 200] [-messages 1000] [-gap 20]
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	rounds   = flag.Int("rounds", 3, "how often each server is measured")
	clients  = flag.Int("clients", 200, "clients, each of which has one relay")
	messages = flag.Int("messages", 1000, "datagrams that each sends, and gets back")
	gap      = flag.Int("gap", 20, "milliseconds between two of them")
	length   = flag.Int("length", 172, "bytes of each: an RTP packet of G.711")
	cpu      = flag.String("cpu", "", "processors that the servers may use, for taskset; default all")
)

// server is one of the two.
type server struct {
	name  string
	start func(dir string) *exec.Cmd
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal("turn: ", err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "bench-turn")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "signalbox")
	build := exec.Command("go", "build", "-o", program, "signalbox/cmd/signalbox")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	peer := exec.Command("turnutils_peer", "-L", "127.0.0.1", "-p", peerPort)
	if err := peer.Start(); err != nil {
		return err
	}
	defer end(peer)

	servers := []server{
		{"coturn", func(dir string) *exec.Cmd {
			return exec.Command("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp-relay", "--allow-loopback-peers", "--lt-cred-mech", "-u", "alice:secret",
				"-r", "example.org", "-L", "127.0.0.1", "-p", port, "--log-file", "/dev/null", "--pidfile", filepath.Join(dir, "coturn.pid"), "--userdb", filepath.Join(dir, "coturn.db"))
		}},
		{"Signalbox", func(dir string) *exec.Cmd {
			return exec.Command(program, "serve", "--config", filepath.Join(dir, "signalbox.toml"))
		}},
	}
	config := fmt.Sprintf("domain = \"example.org\"\n[listen]\nudp = \"127.0.0.1:15060\"\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\n"+
		"[turn]\nudp = \"127.0.0.1:%s\"\ntcp = \"\"\ntls = \"\"\npeers = \"127.0.0.0/8\"\nallocations_per_user = 10000\nkbits_per_user = 10000000\n", port)
	if err := os.WriteFile(filepath.Join(dir, "signalbox.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(program, "user", "add", "alice", "--password", "secret", "--config", filepath.Join(dir, "signalbox.toml")).CombinedOutput(); err != nil {
		return fmt.Errorf("user add: %w\n%s", err, out)
	}
	all := map[string][]float64{}
	for range *rounds {
		for _, s := range servers {
			us, lost, err := measure(s, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Printf("%-10s %6.2f us of CPU a datagram, %s lost\n", s.name, us, lost)
			all[s.name] = append(all[s.name], us)
		}
	}
	for _, s := range servers {
		slices.Sort(all[s.name])
		fmt.Printf("%-10s median %.2f us\n", s.name, all[s.name][len(all[s.name])/2])
	}
	return nil
}

const (
	port     = "13478"
	peerPort = "13480"
)

var lostLine = regexp.MustCompile(`Total lost packets (\d+) `)

// measure runs the load once. A datagram that goes to a peer and comes back was relayed twice.
func measure(s server, dir string) (us float64, lost string, err error) {
	cmd := s.start(dir)
	if *cpu != "" {
		cmd = exec.Command("taskset", append([]string{"-c", *cpu}, cmd.Args...)...)
	}
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	defer end(cmd)
	if err := ready(); err != nil {
		return 0, "", err
	}
	before, err := spent(cmd.Process.Pid)
	if err != nil {
		return 0, "", err
	}
	out, err := exec.Command("turnutils_uclient", "-X", "-c", "-u", "alice", "-w", "secret", "-p", port, "-e", "127.0.0.1", "-r", peerPort,
		"-m", strconv.Itoa(*clients), "-n", strconv.Itoa(*messages), "-z", strconv.Itoa(*gap), "-l", strconv.Itoa(*length), "127.0.0.1").CombinedOutput()
	if err != nil {
		return 0, "", fmt.Errorf("%w\n%s", err, out)
	}
	after, err := spent(cmd.Process.Pid)
	if err != nil {
		return 0, "", err
	}
	found := lostLine.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return 0, "", fmt.Errorf("turnutils_uclient says nothing of loss:\n%s", out)
	}
	return float64((after - before).Microseconds()) / float64(2**clients**messages), string(found[len(found)-1][1]), nil
}

// ready waits until the server answers a Binding request.
func ready() error {
	c, err := net.Dial("udp4", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	defer c.Close()
	request := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	for range 100 {
		_, _ = c.Write(request)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1500)); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("no answer on port %s", port)
}

// spent is the CPU time of a process.
func spent(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, cmp.Or(err1, err2)
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}
