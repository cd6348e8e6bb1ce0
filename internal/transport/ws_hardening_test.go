package transport

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalbox/internal/wire"
)

// hardening 4, 5: frames that lie about their length, that are not masked, too large, too many, never ending: the connection ends with the code of RFC 6455, 7.4.1, and the next one is
// served. RFC 6455, 5.2: lengths, masks, opcodes and reserved bits. RFC 6455, 5.5: control frames are short and whole. RFC 6455, 5.5.1: a close is answered. RFC 6455, 8.1: text is UTF-8.
func TestWebSocketHardening(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{}, func(tr *Transport) {
		tr.times.message, tr.times.linger = 500*time.Millisecond, 100*time.Millisecond
	})
	for _, tt := range []struct {
		name  string
		codes []int
		send  func(say func(string) error)
	}{
		{"hardening 4: length with the top bit", []int{1009}, func(say func(string) error) { say("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00") }},
		{"hardening 4: negative length", []int{1009}, func(say func(string) error) { say("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00") }},
		{"hardening 4: 126 and nothing more", []int{1008}, func(say func(string) error) { say("\x81\xfe\xff\xff\x00\x00\x00\x00") }},
		{"hardening 4: two fragments whose sum is too large", []int{1009}, func(say func(string) error) {
			half := strings.Repeat("x", wire.MaxMessage/2+1)
			say(clientFrame(opText, half) + clientFrame(frameFin, half))
		}},
		{"hardening 4: fragments whose sum is too large, without an end", []int{1009}, func(say func(string) error) {
			part := strings.Repeat("x", wire.MaxMessage/4)
			for err := say(clientFrame(opText, part)); err == nil; err = say(clientFrame(0, part)) {
			}
		}},
		{"hardening 4: a continuation that makes the sum overflow", []int{1009}, func(say func(string) error) {
			say(clientFrame(opText, "xx") + "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")
		}},
		{"hardening 5: fragments of 1 MB", []int{1009}, func(say func(string) error) { say("\x01\xff\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00") }},
		{"hardening 5: control frame that is too long", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|opPing, strings.Repeat("x", 126))) }},
		{"hardening 5: fragmented control frame", []int{1002}, func(say func(string) error) { say(clientFrame(opPing, "x")) }},
		{"hardening 5: not masked", []int{1002}, func(say func(string) error) { say("\x81\x02\r\n") }},
		{"hardening 5: reserved bit", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|0x40|opText, "x")) }},
		{"hardening 5: unknown opcode", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin|0x3, "x")) }},
		{"hardening 5: continuation of nothing", []int{1002}, func(say func(string) error) { say(clientFrame(frameFin, "x")) }},
		{"hardening 5: text that is not UTF-8", []int{1007}, func(say func(string) error) { say(clientFrame(frameFin|opText, request(wsVia, "\xff"))) }},
		{"hardening 5: message too large", []int{1009}, func(say func(string) error) {
			say(clientFrame(frameFin|opText, strings.Repeat("x", wire.MaxMessage+1)))
		}},
		{"hardening 5: one byte a fragment", []int{1008, 1009}, func(say func(string) error) {
			_ = say(clientFrame(opText, "x"))
			for i := 0; i < 2*wire.MaxMessage && say(strings.Repeat(clientFrame(0, "x"), 512)) == nil; i += 512 {
			}
		}},
		{"hardening 5: empty fragments without end", []int{1008, 0}, func(say func(string) error) {
			_ = say(clientFrame(opText, ""))
			for i := 0; i < 1000 && say(strings.Repeat(clientFrame(0, ""), 512)) == nil; i++ {
			}
		}},
		{"hardening 5: a flood of pings", []int{1008, 0}, func(say func(string) error) {
			for i := 0; i < 1000 && say(strings.Repeat(clientFrame(frameFin|opPing, "x"), 512)) == nil; i++ {
			}
		}},
		{"not SIP", []int{1008}, func(say func(string) error) { say(clientFrame(frameFin|opText, "hello")) }},
		{"a panic in a room above", []int{1008}, func(say func(string) error) { say(clientFrame(frameFin|opText, request(wsVia, "panic"))) }},
		{"good-bye", []int{1000}, func(say func(string) error) { say(clientFrame(frameFin|opClose, "\x03\xe8")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rawWS(t, tr)
			go tt.send(func(s string) error { _, err := io.WriteString(p, s); return err })
			if code := p.closeCode(); !slices.Contains(tt.codes, code) {
				t.Errorf("closed with %d, want one of %d", code, tt.codes)
			}
			good := dialWS(t, tr, nil)
			good.send(websocket.MessageText, request(wsVia, "good"))
			if h := r.next(t); h.req.CallID != "good" {
				t.Errorf("came %s", h.req.CallID)
			}
		})
	}
}

// hardening 4: what counts is the sum of the fragments: a message of the largest size comes through in two of them, and in pieces of one byte up to what may come besides messages.
func TestWebSocketSums(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := rawWS(t, tr)
	largest := func(id string, size int) string {
		head := strings.Replace(request(wsVia, id), "Content-Length: 0\r\n", "", 1)
		return head + strings.Repeat("x", size-len(head))
	}
	for _, tt := range []struct {
		id          string
		size, piece int
	}{{"halves", wire.MaxMessage, wire.MaxMessage / 2}, {"bytes", 32 << 10, 1}} {
		msg := largest(tt.id, tt.size)
		var b strings.Builder
		op := byte(opText)
		for len(msg) > tt.piece {
			b.WriteString(clientFrame(op, msg[:tt.piece]))
			op, msg = 0, msg[tt.piece:]
		}
		p.say(b.String() + clientFrame(frameFin|op, msg))
		if h := r.next(t); h.req.CallID != tt.id || !strings.HasSuffix(string(h.req.Body()), "xxx") {
			t.Errorf("%s: came %s", tt.id, h.req.CallID)
		}
	}
}

// hardening 4, 5: what unfinished messages hold in memory is bounded, however many connections have one: a message of the largest size each, and not what they have sent.
func TestWebSocketMemory(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 50
	part := clientFrame(opText, strings.Repeat("x", wire.MaxMessage/2))
	more := strings.Repeat(clientFrame(frameFin|opPing, ""), 10)
	before := heap()
	for range n {
		p := rawWS(t, tr)
		p.say(part + clientFrame(0, strings.Repeat("x", wire.MaxMessage/2)) + more)
		for range 10 {
			if _, _, err := p.frame(); err != nil { // the pongs: all of it was read
				t.Fatal(err)
			}
		}
	}
	if after := heap(); after > before+n*4*wire.MaxMessage {
		t.Errorf("%d unfinished messages take %d KB", n, (after-before)>>10)
	}
	good := dialWS(t, tr, nil)
	good.send(websocket.MessageText, request(wsVia, "good"))
	if h := r.next(t); h.req.CallID != "good" {
		t.Errorf("came %s", h.req.CallID)
	}
}

// An unparsable message is answered, and costs nothing else: the next one is in a frame of its own. RFC 3261, 8.2; hardening 1
func TestWebSocketUnparsable(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := dialWS(t, tr, nil)
	inner := request(wsVia, "inner")
	for _, length := range []string{"4294967328", "18446744073709551616", "-999", "5 5", "2147483648"} {
		p.send(websocket.MessageText, strings.Replace(request(wsVia, "outer"), "Content-Length: 0", "Content-Length: "+length, 1)+inner)
		if _, got := p.read(); status(got) != "400" && status(got) != "513" && status(got) != "413" || callID(got) != "outer" {
			t.Errorf("%s: got\n%s", length, got)
		}
	}
	p.send(websocket.MessageText, request(wsVia, "next"))
	if h := r.next(t); h.req.CallID != "next" {
		t.Errorf("came %s", h.req.CallID)
	}
}

// A peer that does not read holds up nobody, and is let go when its backlog is full.
func TestWebSocketSlowReader(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	deaf, good := rawWS(t, tr), dialWS(t, tr, nil)
	deaf.say(clientFrame(frameFin|opText, request(wsVia, "deaf")))
	flow := r.next(t).flow
	gone := make(chan error, 1)
	flow.OnClose(func(err error) { gone <- err })
	long := []byte(strings.Repeat("x", 32<<10))
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		err = flow.Send(long)
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("Send: %v", err)
	}
	good.send(websocket.MessageText, request(wsVia, "good"))
	if h := r.next(t); h.req.CallID != "good" {
		t.Errorf("came %s", h.req.CallID)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("it is still there")
	}
}

// Who sends faster than we read is read more slowly; nothing is lost.
func TestWebSocketRate(t *testing.T) {
	tr, r := beginWeb(t, Config{WS: []string{"127.0.0.1:0"}}, Origins{})
	p := rawWS(t, tr)
	go func() { // what comes back must be read
		for {
			if _, _, err := p.frame(); err != nil {
				return
			}
		}
	}()
	const n = wsBurst + 50
	for range n {
		p.say(clientFrame(frameFin|opText, request(wsVia, "many")))
	}
	for range n {
		r.next(t)
	}
}
