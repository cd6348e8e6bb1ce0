package main

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// rtpengine is driven over its ng protocol: bencoded dictionaries in datagrams.
type rtpengine struct {
	cmd   *exec.Cmd
	conn  net.Conn
	n     int
	plain bool
}

func startRTPEngine(plain bool) (bridge, error) {
	cmd := exec.Command("rtpengine", "--foreground", "--table=-1", "--interface=127.0.0.1", "--listen-ng=127.0.0.1:22222", "--port-min=40000", "--port-max=44999",
		"--log-level=2", "--log-stderr", "--pidfile=/dev/null", "--num-threads=2")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	conn, err := net.Dial("udp", "127.0.0.1:22222")
	return &rtpengine{cmd: cmd, conn: conn, plain: plain}, err
}

func (r *rtpengine) pid() int   { return r.cmd.Process.Pid }
func (r *rtpengine) at() net.IP { return net.IPv4(127, 0, 0, 1) }
func (r *rtpengine) close()     { kill(r.cmd) }

func bstr(s string) string { return strconv.Itoa(len(s)) + ":" + s }

func (r *rtpengine) ask(pairs ...string) (string, error) {
	var b strings.Builder
	r.n++
	fmt.Fprintf(&b, "%d d", r.n)
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(bstr(pairs[i]))
		if v, list := strings.CutPrefix(pairs[i+1], "list "); list {
			b.WriteString("l" + bstr(v) + "e")
		} else {
			b.WriteString(bstr(pairs[i+1]))
		}
	}
	b.WriteString("e")
	if _, err := r.conn.Write([]byte(b.String())); err != nil {
		return "", err
	}
	buf := make([]byte, 65536)
	_ = r.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := r.conn.Read(buf)
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(buf[:n]), "3:sdp")
	if !ok {
		return "", fmt.Errorf("rtpengine: %s", buf[:n])
	}
	size, rest, _ := strings.Cut(rest, ":")
	count, _ := strconv.Atoi(size)
	return rest[:count], nil
}

func (r *rtpengine) call(n int, offer string, phone func(string) string) (string, error) {
	id := fmt.Sprintf("call-%d", n)
	if r.plain {
		out, err := r.ask("call-id", id, "command", "offer", "from-tag", "a", "sdp", offer)
		if err != nil {
			return "", err
		}
		return r.ask("call-id", id, "command", "answer", "from-tag", "a", "sdp", phone(out), "to-tag", "b")
	}
	out, err := r.ask("ICE", "remove", "call-id", id, "command", "offer", "from-tag", "a", "rtcp-mux", "list demux", "sdp", offer, "transport-protocol", "RTP/AVP")
	if err != nil {
		return "", err
	}
	return r.ask("DTLS", "passive", "ICE", "force", "call-id", id, "command", "answer", "from-tag", "a", "rtcp-mux", "list require", "sdp", phone(out), "to-tag", "b",
		"transport-protocol", "UDP/TLS/RTP/SAVPF")
}
