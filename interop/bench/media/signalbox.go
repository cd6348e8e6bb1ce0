package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/icholy/digest"
)

// signalbox is driven as users do: a page over a WebSocket calls a phone over UDP.
type signalbox struct {
	cmd    *exec.Cmd
	dir    string
	page   *websocket.Conn
	desk   *net.UDPConn
	answer func(string) string
}

const (
	domain  = "sip.test"
	sipPort = "127.0.0.1:15060"
	webPort = "127.0.0.1:15080"
)

func startSignalbox() (bridge, error) {
	dir, err := os.MkdirTemp("", "bench-media")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "signalbox")
	if out, err := exec.Command("go", "build", "-o", program, "signalbox/cmd/signalbox").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	conf := filepath.Join(dir, "signalbox.toml")
	text := fmt.Sprintf("domain = %q\n[listen]\nudp = %q\ntcp = \"\"\ntls = \"\"\nhttps = \"\"\nhttp = %q\n[media]\nwebrtc_udp = 18444\nrtp = \"30000-30999\"\n[turn]\nudp = \"\"\ntcp = \"\"\ntls = \"\"\n"+
		"[store]\ndatabase = \"sqlite:data/sb.db\"\n[log]\nlevel = \"error\"\n", domain, sipPort, webPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for _, user := range []string{"alice", "bob"} {
		if out, err := exec.Command(program, "user", "add", user, "--password", "secret", "--config", conf).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	s := &signalbox{cmd: exec.Command(program, "serve", "--config", conf), dir: dir}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.page, _, err = websocket.Dial(ctx, "ws://"+webPort+"/sip", &websocket.DialOptions{Subprotocols: []string{"sip"}})
		cancel()
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	if s.desk, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	return s, s.register()
}

func (s *signalbox) pid() int   { return s.cmd.Process.Pid }
func (s *signalbox) at() net.IP { return net.IPv4(127, 0, 0, 1) }

func (s *signalbox) close() {
	_ = s.page.CloseNow()
	s.desk.Close()
	kill(s.cmd)
	os.RemoveAll(s.dir)
}

func header(m, name string) string {
	_, rest, _ := strings.Cut(m, "\r\n"+name+": ")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

func all(m, name string) (list string) {
	for line := range strings.SplitSeq(m, "\r\n") {
		if strings.HasPrefix(line, name+": ") {
			list += line + "\r\n"
		}
	}
	return list
}

func credentials(m, challenge, answer, user, method, uri string) (string, error) {
	for line := range strings.SplitSeq(m, "\r\n") {
		value, ok := strings.CutPrefix(line, challenge+": ")
		if !ok {
			continue
		}
		c, err := digest.ParseChallenge(value)
		if err != nil || !strings.EqualFold(c.Algorithm, "MD5") {
			continue
		}
		d, err := digest.Digest(c, digest.Options{Method: method, URI: uri, Username: user, Password: "secret", Count: 1})
		return answer + ": " + d.String() + "\r\n", err
	}
	return "", fmt.Errorf("no challenge in:\n%s", m)
}

func (s *signalbox) register() error {
	server, _ := net.ResolveUDPAddr("udp", sipPort)
	me := s.desk.LocalAddr().String()
	extra := ""
	buf := make([]byte, 65536)
	for n := 1; n <= 2; n++ {
		req := fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKreg%d\r\nMax-Forwards: 70\r\nFrom: <sip:bob@%s>;tag=b\r\nTo: <sip:bob@%s>\r\nCall-ID: reg\r\nCSeq: %d REGISTER\r\nContact: <sip:bob@%s>\r\n%sContent-Length: 0\r\n\r\n",
			domain, me, n, domain, domain, n, me, extra)
		if _, err := s.desk.WriteToUDP([]byte(req), server); err != nil {
			return err
		}
		_ = s.desk.SetReadDeadline(time.Now().Add(5 * time.Second))
		k, err := s.desk.Read(buf)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(buf[:k]), "SIP/2.0 200") {
			break
		}
		if extra, err = credentials(string(buf[:k]), "WWW-Authenticate", "Authorization", "bob", "REGISTER", "sip:"+domain); err != nil {
			return err
		}
	}
	_ = s.desk.SetReadDeadline(time.Time{})
	go ring(s.desk, func(offer string) string { return s.answer(offer) })
	return nil
}

// ring answers every INVITE.
func ring(desk *net.UDPConn, answer func(string) string) {
	buf := make([]byte, 65536)
	seen := map[string]string{}
	for {
		n, from, err := desk.ReadFromUDP(buf)
		if err != nil {
			return
		}
		m := string(buf[:n])
		if !strings.HasPrefix(m, "INVITE") {
			continue
		}
		id := header(m, "Via")
		if seen[id] == "" {
			_, body, _ := strings.Cut(m, "\r\n\r\n")
			sdp := answer(body)
			seen[id] = fmt.Sprintf("SIP/2.0 200 OK\r\n%s%sFrom: %s\r\nTo: %s;tag=t%d\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:bob@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
				all(m, "Via"), all(m, "Record-Route"), header(m, "From"), header(m, "To"), len(seen), header(m, "Call-ID"), header(m, "CSeq"), desk.LocalAddr(), len(sdp), sdp)
		}
		_, _ = desk.WriteToUDP([]byte(seen[id]), from)
	}
}

func (s *signalbox) write(m string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.page.Write(ctx, websocket.MessageText, []byte(m))
}

// read waits for a final response to an INVITE.
func (s *signalbox) read() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		_, b, err := s.page.Read(ctx)
		if err != nil {
			return "", err
		}
		if m := string(b); strings.HasPrefix(m, "SIP/2.0 ") && m[8] != '1' && strings.Contains(m, "INVITE") {
			return m, nil
		}
	}
}

func (s *signalbox) call(n int, offer string, phone func(string) string) (string, error) {
	s.answer = phone
	uri, extra := "sip:bob@"+domain, ""
	build := func(method, target, to string, cseq int, extra, body string) string {
		branch := fmt.Sprintf("z9hG4bK%d-%d", n, cseq)
		if method == "ACK" && body == "2xx" {
			branch, body = branch+"a", ""
		}
		if body != "" {
			extra += "Content-Type: application/sdp\r\n"
		}
		return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/WS page.invalid;branch=%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@%s>;tag=a\r\nTo: %s\r\nCall-ID: call-%d\r\nCSeq: %d %s\r\nContact: <sip:alice@page.invalid;transport=ws>\r\n%sContent-Length: %d\r\n\r\n%s",
			method, target, branch, domain, to, n, cseq, method, extra, len(body), body)
	}
	for cseq := 1; ; cseq++ {
		if err := s.write(build("INVITE", uri, "<"+uri+">", cseq, extra, offer)); err != nil {
			return "", err
		}
		m, err := s.read()
		switch {
		case err != nil:
			return "", err
		case strings.HasPrefix(m, "SIP/2.0 407") && cseq == 1:
			if err := s.write(build("ACK", uri, header(m, "To"), cseq, "", "")); err != nil {
				return "", err
			}
			if extra, err = credentials(m, "Proxy-Authenticate", "Proxy-Authorization", "alice", "INVITE", uri); err != nil {
				return "", err
			}
		case strings.HasPrefix(m, "SIP/2.0 200"):
			_, body, _ := strings.Cut(m, "\r\n\r\n")
			route := ""
			for line := range strings.SplitSeq(strings.TrimSuffix(all(m, "Record-Route"), "\r\n"), "\r\n") {
				route = "Route" + strings.TrimPrefix(line, "Record-Route") + "\r\n" + route
			}
			_, target, _ := strings.Cut(header(m, "Contact"), "<")
			target, _, _ = strings.Cut(target, ">")
			return body, s.write(build("ACK", target, header(m, "To"), cseq, route, "2xx"))
		default:
			return "", fmt.Errorf("call %d: %s", n, m)
		}
	}
}
