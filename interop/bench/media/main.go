// Command media measures what bridging a browser's call to an RTP phone costs: CPU for each packet that is passed on and memory for each call, of
// Signalbox, of rtpengine, which does the same work in userspace (table -1), and of Janus with its SIP plugin. Browsers are ICE, DTLS and SRTP of pion on one socket each; phones send back
// what they hear. It looks at the programs from outside: /proc and the packets. Results are in docs/bench/media.md.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var (
	calls   = flag.Int("calls", 200, "calls at once")
	seconds = flag.Int("seconds", 20, "how long packets flow")
	rounds  = flag.Int("rounds", 3, "measurements of each program")
	settle  = flag.Duration("settle", 25*time.Second, "how long after the last handshake; what one needs is given back after 20 s")
	only    = flag.String("only", "", "signalbox, rtpengine, janus, signalbox-plain, rtpengine-plain: some of them, with commas")
)

// bridge is a program under test: it turns a browser's offer and a phone's answer into the other's.
type bridge interface {
	pid() int
	at() net.IP // where browsers reach it from
	call(n int, offer string, phone func(offer string) (answer string)) (answer string, err error)
	close()
}

var programs = []struct {
	name  string
	plain bool // the caller too has plain RTP
	start func() (bridge, error)
}{
	{"signalbox", false, startSignalbox}, {"rtpengine", false, func() (bridge, error) { return startRTPEngine(false) }}, {"janus", false, startJanus},
	{"signalbox-plain", true, startSignalbox}, {"rtpengine-plain", true, func() (bridge, error) { return startRTPEngine(true) }},
}

func main() {
	flag.Parse()
	fmt.Printf("| program | calls | packets/s | us CPU a packet | KB a call | lost |\n|---|---|---|---|---|---|\n")
	for range *rounds {
		for _, p := range programs {
			if *only != "" && !slices.Contains(strings.Split(*only, ","), p.name) {
				continue
			}
			b, err := p.start()
			if err != nil {
				log.Printf("%s: %v", p.name, err)
				continue
			}
			err = measure(p.name, b, p.plain)
			b.close()
			if err != nil {
				log.Fatalf("%s: %v", p.name, err)
			}
		}
	}
}

func measure(name string, b bridge, plain bool) error {
	before := memory(b.pid())
	var browsers []*browser
	for n := range *calls {
		caller, err := newBrowser(b.at(), plain)
		if err != nil {
			return err
		}
		answer, err := b.call(n, caller.offer(), phone)
		if err == nil {
			err = caller.connect(answer)
		}
		if err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		browsers = append(browsers, caller)
	}
	time.Sleep(*settle)
	stop := make(chan struct{})
	for i, c := range browsers {
		go c.speak(stop, time.Duration(i)*20*time.Millisecond/time.Duration(*calls))
	}
	time.Sleep(2 * time.Second)
	sent, heard, cpu := total(browsers)
	busy := ticks(b.pid())
	began := time.Now()
	time.Sleep(time.Duration(*seconds) * time.Second)
	took := time.Since(began).Seconds()
	busy = ticks(b.pid()) - busy
	sent2, heard2, _ := total(browsers)
	close(stop)
	_ = cpu
	passed := float64(sent2-sent) + float64(heard2-heard) // each packet that was sent came to the phone, unless it was lost twice
	after := memory(b.pid())
	fmt.Printf("| %s | %d | %.0f | %.1f | %d | %d |\n", name, *calls, passed/took, float64(busy)*10000/passed, (after-before)/(*calls), (sent2-sent)-(heard2-heard))
	for _, c := range browsers {
		c.conn.Close()
	}
	return nil
}

func total(list []*browser) (sent, heard int64, cpu int) {
	for _, c := range list {
		sent += atomic.LoadInt64(&c.sent)
		heard += atomic.LoadInt64(&c.heard)
	}
	return sent, heard, 0
}

// ticks is the CPU time of a process in hundredths of a second.
func ticks(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return user + system
}

// memory is the resident memory of a process in KB.
func memory(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
