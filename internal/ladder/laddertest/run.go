package laddertest

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/ladder"
	"signalbox/internal/wire"
)

// Build makes the server under test. It runs inside the bubble of virtual time; the Network has no receiver yet.
type Build func(t *testing.T, env *Env) Server

// Dir runs every *.ladder below dir as a subtest named by its path.
func Dir(t *testing.T, dir string, build Build) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ladder"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ladders in %s (%v)", dir, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".ladder"), func(t *testing.T) { Run(t, path, build) })
	}
}

// Run plays one ladder file.
func Run(t *testing.T, path string, build Build) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	script, err := ladder.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		if st, err = newStage(script); err == nil {
			got, err = play(t, st, script, build)
		}
	})
	if err != nil {
		t.Error(err)
	}
	switch want := script.Format(); {
	case got == nil:
	case updating():
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	case !bytes.Equal(got, want):
		t.Errorf("%s (- is what the ladder says, + what happened):\n%s", path, diff(string(want), string(got)))
	}
}

// updating tells whether the flag -update, which the calling test defines, is set.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// player plays a script and writes down what really happened.
type player struct {
	stage  *stage
	server Server
	start  time.Time
	want   map[string][]*ladder.Entry // the server's lines not seen yet, by what they say
	happen ladder.Script
}

// play returns the ladder as it went; the error says why it could not go on, or what was left over.
func play(t *testing.T, st *stage, script *ladder.Script, build Build) ([]byte, error) {
	p := &player{stage: st, server: build(t, st.env), want: make(map[string][]*ladder.Entry)}
	st.env.Network.receiver = p.server.Receiver
	if p.server.Close != nil {
		defer p.server.Close()
	}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	p.happen.Head = script.Head
	for i := range script.Entries {
		if e := &script.Entries[i]; e.From == st.env.Name {
			p.want[saying(e)] = append(p.want[saying(e)], e)
		}
	}
	var stopped error
	for i := range script.Entries {
		e := &script.Entries[i]
		if e.From == st.env.Name {
			continue
		}
		if stopped != nil {
			e.Kind = ladder.End // let time pass until the end of the ladder, so that the server can finish
		}
		if err := p.step(e); err != nil {
			stopped = fmt.Errorf("%s:%d: %w", script.Path, e.Line, err)
		}
	}
	if n := p.server.Transactions; stopped == nil && n != nil && n() != 0 {
		stopped = fmt.Errorf("%s: %d transactions are left at the end", script.Path, n())
	}
	return p.happen.Format(), stopped
}

func saying(e *ladder.Entry) string { return e.To + " " + e.Start }

// step waits for an entry's time and does what it says.
func (p *player) step(e *ladder.Entry) error {
	time.Sleep(time.Until(p.start.Add(e.At)))
	p.settle()
	p.happen.Entries = append(p.happen.Entries, *e)
	switch e.Kind {
	case ladder.Close:
		var port netip.AddrPort
		if ph := p.stage.phones[e.From]; ph.proto == wire.UDP {
			port = ph.addr
		}
		p.stage.env.Network.hangUp(e.From, port, func(h wire.Hop) bool { to := p.stage.byHop[h]; return to != nil && to.name == e.From })
	case ladder.Message:
		f, b, err := p.stage.phones[e.From].build(e)
		if err != nil {
			return err
		}
		if _, lost := e.Flag("lost"); !lost {
			p.stage.env.Network.deliver(f, b)
		}
	}
	p.settle()
	return nil
}

// settle lets the server finish what it can do now, and takes what it has sent.
func (p *player) settle() {
	for {
		synctest.Wait()
		sent := p.stage.env.Network.take()
		if len(sent) == 0 && !p.stage.env.Network.refusing() {
			return
		}
		for _, packet := range sent {
			p.note(packet)
		}
	}
}

// note writes down one message of the server and hands it to its phone.
func (p *player) note(packet packet) {
	e := ladder.Entry{At: packet.at.Sub(p.start), From: p.stage.env.Name, Flags: packet.flags}
	id := packet.flow.id
	to := p.stage.byHop[wire.Hop{Proto: id.Proto, Addr: id.Remote}]
	if to != nil {
		e.To = to.name
	} else {
		e.To = id.Remote.String()
	}
	e.Start = string(ladder.AppendStart(nil, packet.bytes))
	lost := false
	if want := p.want[saying(&e)]; len(want) > 0 {
		p.want[saying(&e)] = want[1:]
		e.Before = want[0].Before
		e.Fields, e.Body = compare(want[0], readMessage(packet.bytes))
		if _, lost = want[0].Flag("lost"); lost {
			e.Flags = append(e.Flags, "lost")
		}
	}
	p.happen.Entries = append(p.happen.Entries, e)
	if _, refused := e.Flag("refused"); to != nil && !lost && !refused {
		to.receive(packet.flow, packet.bytes)
	}
}

// prepare gives every account's phone a nonce, and registers those that are to be registered, before the ladder's time begins.
func (p *player) prepare() error {
	for _, name := range sortedNames(p.stage.phones) {
		ph := p.stage.phones[name]
		if !ph.account {
			continue
		}
		// A query changes no binding (RFC 3261, 10.2.3).
		query := &ladder.Entry{Start: "REGISTER", Flags: []string{"noauth", "call=before-" + name}, Fields: []ladder.Field{{Name: "Contact", Absent: true}}}
		if err := p.exchange(ph, query, 200, 401); err != nil {
			return err
		}
		ph.calls = nil
	}
	for _, d := range p.stage.register {
		ph := p.stage.phones[d.Words[1]]
		contact := ph.contact()
		for _, param := range d.Words[2:] {
			contact += ";" + param
		}
		e := &ladder.Entry{Start: "REGISTER", Fields: []ladder.Field{{Name: "Contact", Value: contact}}}
		if err := p.exchange(ph, e, 200); err != nil {
			return err
		}
		time.Sleep(time.Second) // so that the last one registered is known as the most recent
	}
	// The ladder begins on a whole minute, so that a server's ticks are where they would be from its start.
	time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)))
	p.settle()
	p.happen.Entries = nil
	p.start = time.Now()
	return nil
}

// exchange sends a request before the ladder and waits for the answer: up to a second, for a server that gathers its commits.
func (p *player) exchange(ph *phone, e *ladder.Entry, codes ...int) error {
	flow, b, err := ph.build(e)
	if err != nil {
		return err
	}
	p.stage.env.Network.deliver(flow, b)
	for range 1000 {
		p.settle()
		if c := ph.lastCall("", func(c *call) bool { return c.answers["REGISTER"] != nil }); c != nil {
			res := c.answers["REGISTER"]
			for _, code := range codes {
				if res.code() == code {
					return nil
				}
			}
			return fmt.Errorf("before the ladder: %s was answered %q", ph.name, res.start)
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("before the ladder: %s got no answer to its REGISTER", ph.name)
}
