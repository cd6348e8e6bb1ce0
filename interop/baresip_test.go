package interop

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// baresip is a real phone, driven over its control port (netstrings of JSON).
type baresip struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	out    *output
	ctrl   net.Conn
	events chan map[string]any
}

// newBaresip registers user over the transport. It plays a tone of hz into its calls and records what it hears. extra are more lines of its configuration.
func newBaresip(t *testing.T, s *server, user, transport string, hz int, account string, extra ...string) *baresip {
	t.Helper()
	if _, err := exec.LookPath("baresip"); err != nil {
		t.Skip("SKIPPED: baresip is not installed (interop/tools.sh installs it)")
	}
	b := &baresip{t: t, dir: t.TempDir(), out: &output{}, events: make(chan map[string]any, 1000)}
	tone := filepath.Join(b.dir, "tone.wav")
	writeTone(t, tone, hz)
	ctrl := freeAddr(t)
	conf := fmt.Sprintf(`poll_method epoll
sip_listen %s
sip_cafile %s
audio_source aufile,%s
audio_player alsa,null
audio_alert alsa,null
ausrc_srate 8000
auplay_srate 8000
rtp_ports %s
module_path %s
module g711.so
module aufile.so
module alsa.so
module sndfile.so
module srtp.so
snd_path %s
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen %s
%s
`, freePair(t), filepath.Join(s.dir, "ca.crt"), tone, rtpPorts(), modulePath(t), b.dir, ctrl, strings.Join(extra, "\n"))
	target := map[string]string{"udp": s.udp, "tcp": s.tcp, "tls": s.tls}[transport]
	b.write("config", conf)
	b.write("accounts", fmt.Sprintf("<sip:%s@%s>;auth_pass=%s;outbound=\"sip:%s;transport=%s\";regint=600;%s\n", user, domain, password(user), target, transport, account))
	b.cmd = exec.Command("baresip", "-f", b.dir)
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		if t.Failed() {
			t.Logf("baresip %s:\n%s", user, tail(b.out.String(), 4000))
		}
	})
	for range 100 {
		if b.ctrl, _ = net.Dial("tcp", ctrl); b.ctrl != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if b.ctrl == nil {
		t.Fatalf("baresip opens no control port:\n%s", b.out)
	}
	t.Cleanup(func() { b.ctrl.Close() })
	go b.listen()
	b.until("registration", func() bool { return strings.Contains(b.out.String(), "200 OK") })
	return b
}

func (b *baresip) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// listen reads netstrings until the connection closes.
func (b *baresip) listen() {
	defer close(b.events)
	in := bufio.NewReader(b.ctrl)
	for {
		size, err := in.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil {
			return
		}
		text := make([]byte, n+1) // and the comma
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		var event map[string]any
		if json.Unmarshal(text[:n], &event) == nil {
			b.events <- event
		}
	}
}

func (b *baresip) do(command, params string) {
	b.t.Helper()
	text, _ := json.Marshal(map[string]string{"command": command, "params": params, "token": command})
	if _, err := fmt.Fprintf(b.ctrl, "%d:%s,", len(text), text); err != nil {
		b.t.Fatal(err)
	}
}

// event waits for a call event of that type.
func (b *baresip) event(kind string) map[string]any {
	b.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-b.events:
			if !ok {
				b.t.Fatalf("baresip ended before %s", kind)
			}
			if e["type"] == kind {
				return e
			}
		case <-timeout:
			b.t.Fatalf("no %s", kind)
		}
	}
}

func (b *baresip) until(what string, ok func() bool) {
	b.t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("no %s:\n%s", what, b.out)
}

// heard returns the loudest frequency of what the phone decoded, in Hz, and for how many seconds it heard anything.
func (b *baresip) heard() (hz float64, seconds float64) {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "dump-*-dec.wav"))
	if len(files) == 0 {
		b.t.Fatalf("no recording in %s", b.dir)
	}
	wav, err := os.ReadFile(files[0])
	if err != nil || len(wav) < 44 {
		b.t.Fatalf("recording %s: %d bytes, %v", files[0], len(wav), err)
	}
	var samples []float64
	for i := 44; i+1 < len(wav); i += 2 {
		if v := float64(int16(binary.LittleEndian.Uint16(wav[i:]))); v != 0 || len(samples) > 0 {
			samples = append(samples, v)
		}
	}
	crossings := 0
	for i := 1; i < len(samples); i++ {
		if samples[i-1] < 0 && samples[i] >= 0 {
			crossings++
		}
	}
	seconds = float64(len(samples)) / 8000
	return float64(crossings) / seconds, seconds
}

func writeTone(t *testing.T, path string, hz int) {
	t.Helper()
	const n = 8000 * 30
	data := make([]byte, 0, n*2)
	for i := range n {
		data = binary.LittleEndian.AppendUint16(data, uint16(int16(12000*math.Sin(2*math.Pi*float64(hz)*float64(i)/8000))))
	}
	head := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(36+len(data)))
	head = append(head, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data"...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(data)))
	if err := os.WriteFile(path, append(head, data...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePair is an address whose port and the next one are free: baresip takes SIP port + 1 for TLS.
func freePair(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := freeAddr(t)
		port, _ := strconv.Atoi(portOf(addr))
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1)); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no two free ports in a row")
	return ""
}

func rtpPorts() string {
	port := nextRTPPort.next()
	return fmt.Sprintf("%d-%d", port, port+rtpRange-1)
}

func modulePath(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"} {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	t.Skip("SKIPPED: baresip's modules are not installed")
	return ""
}

// Two phones call each other through the real program, hear each other's tone, and hang up: once from each side.
func TestBaresipCalls(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "alice", "bob")
			alice := newBaresip(t, s, "alice", transport, 440, "")
			bob := newBaresip(t, s, "bob", transport, 1000, "answermode=auto")
			alice.do("dial", "sip:bob@"+domain)
			alice.event("CALL_ESTABLISHED")
			bob.event("CALL_ESTABLISHED")
			time.Sleep(2 * time.Second) // the call is held for its sound, not for an event
			if transport == "tcp" {
				bob.do("hangup", "")
			} else {
				alice.do("hangup", "")
			}
			bob.event("CALL_CLOSED")
			alice.until("end of the call", func() bool {
				return strings.Contains(alice.out.String(), "terminated") || strings.Contains(alice.out.String(), "closed")
			})
			for _, c := range []struct {
				who  string
				b    *baresip
				want float64
			}{{"alice", alice, 1000}, {"bob", bob, 440}} {
				hz, seconds := c.b.heard()
				if math.Abs(hz-c.want) > c.want/50 || seconds < 1 {
					t.Errorf("%s heard %.1f Hz for %.1f s, want %.0f Hz", c.who, hz, seconds, c.want)
				}
			}
			results.passed(t, "baresip", "Two phones register, call each other, hear each other, hang up", "TestBaresipCalls", transport)
		})
	}
}
