package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// story is one SIPp scenario run against the program, with the phones that play the other side.
type story struct {
	caller  string   // scenario in sipp/
	shows   string   // what it shows, for RESULTS.md
	callees []callee // phones registered for bob
	carol   []callee // and for carol
	calls   int      // 1 when 0
	over    []string // transports; all when empty
	lose    int      // per cent of messages each side loses
	to      string   // the callee, bob when empty
	inbound string   // [auth] inbound
}

// callee is a phone on its own port, registered with a q value.
type callee struct {
	scenario string
	q        string
}

var stories = []story{
	{caller: "register", shows: "RFC 3261, 10.2 and 22.2: registration with Digest", calls: 20},
	{caller: "register_errors", shows: "RFC 3261, 10.3: registration errors 400, 401, 403, 420, 423, 500; query; remove all"},
	{caller: "outbound", shows: "RFC 5626, 6, RFC 3327, 5.3 and RFC 5627, 5.2: flows, Path and GRUUs, and how they are refused"},
	{caller: "call", shows: "RFC 3665, 3.2: answered call, hang up", callees: []callee{{"answer", ""}}, calls: 20},
	{caller: "call_lossy", shows: "RFC 3261, 17: answered calls while each side loses 5 % of its messages", callees: []callee{{"answer_lossy", ""}}, calls: 30, lose: 5, over: []string{"udp"}},
	{caller: "message", shows: "RFC 3428, 7: MESSAGE", callees: []callee{{"inbox", ""}}, calls: 20},
	{caller: "message", shows: "RFC 3261, 17: MESSAGE while each side loses 5 % of its messages", callees: []callee{{"inbox_lossy", ""}}, calls: 30, lose: 5, over: []string{"udp"}},
	{caller: "call_busy", shows: "RFC 3665, 3.9: busy", callees: []callee{{"busy", ""}}},
	{caller: "call_cancel", shows: "RFC 3665, 3.8: cancelled while ringing", callees: []callee{{"ringing", ""}}},
	{caller: "call_unanswered", shows: "RFC 3261, 16.8: a silent callee, 408", callees: []callee{{"silent", ""}}},
	{caller: "call_absent", shows: "RFC 3261, 16.5: nobody registered, 480"},
	{caller: "call_unknown", shows: "RFC 3261, 16.5: unknown address, 404", to: "nobody"},
	{caller: "call_fork", shows: "RFC 3261, 16.6: fork to three, one answers, two are cancelled", callees: []callee{{"answer", ""}, {"ringing", ""}, {"ringing", ""}}},
	{caller: "call_fork", shows: "RFC 3261, 16.6: serial fork by q, the first is busy", callees: []callee{{"busy", "1.0"}, {"answer", "0.5"}}},
	{caller: "call_crossing", shows: "RFC 3261, 9.1: CANCEL and 200 cross", callees: []callee{{"answer_on_cancel", ""}}},
	{caller: "call_two_answers", shows: "RFC 3261, 13.2.2.4: two branches answer", callees: []callee{{"answer_at_once", ""}, {"answer_on_cancel", ""}}},
	{caller: "call_dialog", shows: "RFC 3261, 12.2: PRACK, INFO, UPDATE, REFER, NOTIFY inside a call", callees: []callee{{"answer_dialog", ""}}},
	{caller: "call_strict", shows: "RFC 3261, 16.4: strict router", callees: []callee{{"answer", ""}}},
	{caller: "call_loop", shows: "RFC 3261, 16.3 step 4: loop, 482", callees: []callee{{"loop", ""}}},
	{caller: "call_spiral", shows: "RFC 5393, 4.2.2: spiral, the call passes twice", callees: []callee{{"spiral", ""}}, carol: []callee{{"answer", ""}}, inbound: "any"},
	{caller: "subscribe", shows: "RFC 6665, 4.1: SUBSCRIBE and NOTIFY", callees: []callee{{"notifier", ""}}},
	{caller: "watch", shows: "RFC 3680, 4: one's own registrations watched, refreshed, ended", calls: 5},
	{caller: "watch_errors", shows: "RFC 6665, 4.2.1: SUBSCRIBE refused: 403, 406, 420, 423, 481, 489"},
	{caller: "options", shows: "RFC 3261, 11: OPTIONS to the server, with Max-Forwards 0, to a user", callees: []callee{{"optioned", ""}}},
	{caller: "strangers", shows: "RFC 3261, 22.3: what nobody is allowed to do", callees: []callee{{"inbox", ""}}},
}

var transports = []string{"udp", "tcp", "tls"}

func TestSIPp(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("SKIPPED: sipp is not installed (interop/tools.sh installs it)")
	}
	for _, st := range stories {
		over := st.over
		if len(over) == 0 {
			over = transports
		}
		for _, transport := range over {
			name := fmt.Sprintf("%s/%s", st.caller, transport)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				play(t, st, transport)
				results.passed(t, "SIPp", st.shows, st.caller+".xml", transport)
			})
		}
	}
}

// play starts a server, registers the callees, and runs the caller's scenario; every SIPp must end with all its calls successful.
func play(t *testing.T, st story, transport string) {
	extra := ""
	if st.inbound != "" {
		extra = fmt.Sprintf("[auth]\ninbound = %q\n", st.inbound)
	}
	s := newServer(t, extra, "alice", "bob", "carol")
	calls := max(st.calls, 1)
	to := st.to
	if to == "" {
		to = "bob"
	}
	var phones []*phone
	for i, c := range slices.Concat(st.callees, st.carol) {
		user := "bob"
		if i >= len(st.callees) {
			user = "carol"
		}
		p := s.phone(transport, c.scenario, user)
		if c.scenario != "silent" {
			p.args = append(p.args, "-m", fmt.Sprint(calls), "-lost", fmt.Sprint(st.lose))
			if st.caller == "strangers" { // nothing may reach the callee: it is ended, having heard nothing
				p.quiet = true
			}
			p.start()
		} else {
			p.listenOnly()
		}
		phones = append(phones, p)
		reg := s.phone(transport, "register", user)
		reg.contact = p.contact
		if c.q != "" {
			reg.params = ";q=" + c.q
		}
		reg.inject(user, user, "")
		reg.run()
	}
	caller := s.phone(transport, st.caller, "alice")
	caller.inject("alice", to, "")
	hold := "50" // ms
	if st.lose > 0 {
		hold = "20000" // the ACK may have to be asked for several times
	}
	caller.args = append(caller.args, "-key", "server", map[string]string{"udp": s.udp, "tcp": s.tcp, "tls": s.tls}[transport], "-d", hold, "-m", fmt.Sprint(calls), "-r", "20", "-lost", fmt.Sprint(st.lose))
	caller.run()
	for _, p := range phones {
		p.wait()
	}
}

// phone is one SIPp.
type phone struct {
	*server
	name      string
	scenario  string
	transport string
	addr      string // where it listens
	contact   string // hostport and parameters of its Contact
	params    string // header parameters of its Contact when registering
	args      []string
	cmd       *exec.Cmd
	out       *output
	quiet     bool // must hear nothing
}

func (s *server) phone(transport, scenario, callee string) *phone {
	p := &phone{server: s, name: fmt.Sprintf("%s-%s", scenario, portOf(freeAddr(s.t))), scenario: scenario, transport: transport, addr: freeAddr(s.t), out: &output{}}
	p.contact = p.addr + ";transport=" + transport
	target, mode := s.udp, "u1"
	switch transport {
	case "tcp":
		target, mode = s.tcp, "t1"
	case "tls":
		target, mode = s.tunnel(s.tls, true), "t1"
		p.contact = s.tunnel(p.addr, false) + ";transport=tls"
	}
	path, _ := filepath.Abs(filepath.Join("sipp", scenario+".xml"))
	p.args = []string{target, "-t", mode, "-i", "127.0.0.1", "-p", portOf(p.addr), "-sf", path, "-key", "domain", domain, "-key", "callee", callee,
		"-auth_uri", domain, "-nostdin", "-timeout", "150s", "-timeout_error", "-trace_err", "-error_file", filepath.Join(s.dir, p.name+".err"),
		"-trace_msg", "-message_file", filepath.Join(s.dir, p.name+".msg"), "-max_retrans", "20"}
	return p
}

// inject writes the line SIPp reads its fields from: user, its credentials, the callee, wrong credentials.
func (p *phone) inject(user, to, extra string) {
	auth := func(pw string) string { return fmt.Sprintf("[authentication username=%s password=%s]", user, pw) }
	path := p.file(p.name+".csv", fmt.Sprintf("SEQUENTIAL\n%s;%s;%s;%s;\n", user, auth(password(user)), to, auth("wrong"+extra)))
	p.args = append(p.args, "-inf", path)
}

func (p *phone) start() {
	p.t.Helper()
	p.cmd = exec.Command("sipp", append(p.args, "-key", "contact", p.contact, "-key", "cparams", p.params)...)
	p.cmd.Dir = p.dir
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.t.Cleanup(func() {
		if p.t.Failed() {
			for _, suffix := range []string{".err", ".msg"} {
				text, _ := os.ReadFile(filepath.Join(p.dir, p.name+suffix))
				p.t.Logf("%s%s:\n%s", p.name, suffix, tail(string(text), 6000))
			}
		}
	})
}

// run is start and wait, for the side that begins.
func (p *phone) run() {
	p.t.Helper()
	if p.scenario == "register" && !contains(p.args, "-m") {
		p.args = append(p.args, "-m", "1")
	}
	p.start()
	p.wait()
}

func (p *phone) wait() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	if p.quiet {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		heard, _ := os.ReadFile(filepath.Join(p.dir, p.name+".msg"))
		if strings.Contains(string(heard), "received") {
			p.t.Errorf("%s heard something:\n%s", p.name, heard)
		}
		return
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, tail(p.out.String(), 3000))
	}
}

// listenOnly binds the port and says nothing.
func (p *phone) listenOnly() {
	p.t.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		silence(p.t, proto, p.addr)
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func tail(s string, n int) string {
	if len(s) > n {
		return s[len(s)-n:]
	}
	return s
}

// The black-box story: 200 users registered, 200 calls, 200 messages, kill -9, restart, and 200 messages to the same users with no new REGISTER.
func TestKillLosesNothing(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("SKIPPED: sipp is not installed (interop/tools.sh installs it)")
	}
	const n = 200
	var users []string
	for i := range n {
		users = append(users, fmt.Sprintf("user%03d", i))
	}
	s := newServer(t, "", users...)
	csv := "SEQUENTIAL\n"
	for i, u := range users {
		csv += fmt.Sprintf("%s;[authentication username=%s password=%s];%s;\n", u, u, password(u), users[(i+n/2)%n])
	}
	inject := s.file("all.csv", csv)
	callee := freeAddr(t)
	run := func(scenario, answer string, calls int) {
		var other *phone
		if answer != "" {
			other = s.phone("udp", answer, "")
			other.contact = callee
			other.args = append(other.args, "-p", portOf(callee), "-m", fmt.Sprint(calls))
			other.start()
			time.Sleep(300 * time.Millisecond) // SIPp says nowhere that it is ready; a lost first message is retransmitted
		}
		p := s.phone("udp", scenario, "")
		p.contact = callee
		p.args = append(p.args, "-inf", inject, "-d", "50", "-m", fmt.Sprint(calls), "-r", "100")
		p.run()
		if other != nil {
			other.wait()
		}
	}
	run("register", "", n)
	run("call", "answer", n)
	run("message", "inbox", n)
	s.kill()
	s.start()
	run("message", "inbox", n)
	results.passed(t, "SIPp", "200 registrations, calls and messages; kill -9; restart; 200 messages to the same users", "register.xml, call.xml, message.xml", "udp")
}
