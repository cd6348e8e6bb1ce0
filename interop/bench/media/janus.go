package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// janus is driven over its WebSocket API: a session, and in it a handle of the SIP plugin for each call, which registers nowhere and calls the phone.
type janus struct {
	cmd     *exec.Cmd
	dir     string
	address string
	api     *websocket.Conn
	desk    *net.UDPConn
	answer  func(string) string
	session uint64
	n       int
}

// janusConfig turns everything off that a call does not need. Janus does not gather candidates on loopback: at is another address of this machine.
func janusConfig(at string) map[string]string {
	others := "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so"
	return map[string]string{
		"janus.jcfg": fmt.Sprintf("general: { debug_level = 2 }\nnat: { ice_enforce_list = %q }\nmedia: { rtp_port_range = \"50000-54999\" }\nplugins: { disable = %q }\n"+
			"transports: { disable = \"libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so\" }\nevents: { broadcast = false }\n", at, others),
		"janus.transport.websockets.jcfg": "general: { json = \"compact\"\n ws = true\n ws_port = 18188\n ws_ip = \"127.0.0.1\"\n wss = false }\n",
		"janus.plugin.sip.jcfg":           "general: { local_ip = \"127.0.0.1\"\n sdp_ip = \"127.0.0.1\"\n behind_nat = false\n rtp_port_range = \"40000-44999\" }\n",
	}
}

func startJanus() (bridge, error) {
	at, err := outside()
	if err != nil {
		return nil, err
	}
	j := &janus{address: at}
	if j.dir, err = os.MkdirTemp("", "bench-janus"); err != nil {
		return nil, err
	}
	for name, text := range janusConfig(at) {
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	j.cmd = exec.Command("janus", "-F", j.dir)
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		j.api, _, err = websocket.Dial(ctx, "ws://127.0.0.1:18188/", &websocket.DialOptions{Subprotocols: []string{"janus-protocol"}})
		cancel()
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	j.api.SetReadLimit(1 << 20)
	if j.desk, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	go ring(j.desk, func(offer string) string { return j.answer(offer) })
	made, err := j.ask(map[string]any{"janus": "create"}, "success")
	j.session = made.Data.ID
	go func() { // a session without word for 60 s is given up
		for j.send(map[string]any{"janus": "keepalive", "session_id": j.session}) == nil {
			time.Sleep(20 * time.Second)
		}
	}()
	return j, err
}

// outside is an address of this machine that is not loopback.
func outside() (string, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range list {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			return ip.IP.String(), nil
		}
	}
	return "", fmt.Errorf("no address but loopback")
}

func (j *janus) pid() int   { return j.cmd.Process.Pid }
func (j *janus) at() net.IP { return net.ParseIP(j.address) }

func (j *janus) close() {
	_ = j.api.CloseNow()
	j.desk.Close()
	kill(j.cmd)
	os.RemoveAll(j.dir)
}

// said is what Janus says, as far as we look.
type said struct {
	Janus       string
	Transaction string
	Data        struct{ ID uint64 }
	Error       struct{ Reason string }
	PluginData  struct {
		Data struct {
			Error  string
			Result struct{ Event string }
		}
	}
	JSEP struct{ SDP string }
}

func (j *janus) send(m map[string]any) error {
	j.n++
	m["transaction"] = fmt.Sprint(j.n)
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return j.api.Write(ctx, websocket.MessageText, b)
}

// ask sends, and waits for an event of the plugin or an answer of that name.
func (j *janus) ask(m map[string]any, want string) (s said, err error) {
	if err := j.send(m); err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, b, err := j.api.Read(ctx)
		if err != nil {
			return s, fmt.Errorf("waiting for %s: %w", want, err)
		}
		s = said{}
		if err := json.Unmarshal(b, &s); err != nil {
			return s, err
		}
		if why := s.Error.Reason + s.PluginData.Data.Error; why != "" {
			return s, fmt.Errorf("janus: %s", why)
		}
		if s.Janus == want || s.PluginData.Data.Result.Event == want {
			return s, nil
		}
	}
}

func (j *janus) call(n int, offer string, phone func(string) string) (string, error) {
	j.answer = phone
	handle, err := j.ask(map[string]any{"janus": "attach", "session_id": j.session, "plugin": "janus.plugin.sip"}, "success")
	if err != nil {
		return "", err
	}
	message := func(body, jsep map[string]any) map[string]any {
		m := map[string]any{"janus": "message", "session_id": j.session, "handle_id": handle.Data.ID, "body": body}
		if jsep != nil {
			m["jsep"] = jsep
		}
		return m
	}
	if _, err := j.ask(message(map[string]any{"request": "register", "type": "guest", "username": fmt.Sprintf("sip:page%d@127.0.0.1", n)}, nil), "registered"); err != nil {
		return "", err
	}
	// Janus would begin the DTLS handshake, given the choice; our browser does.
	offer = strings.Replace(offer, "a=setup:actpass", "a=setup:active", 1)
	s, err := j.ask(message(map[string]any{"request": "call", "uri": "sip:bob@" + j.desk.LocalAddr().String()}, map[string]any{"type": "offer", "sdp": offer, "trickle": false}), "accepted")
	return s.JSEP.SDP, err
}
