package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listedDevice is a device as the command line prints it.
type listedDevice struct {
	Device, Kind, Transport, Source string
	Added, Online                   bool
	Since, First                    *time.Time
	Users                           []string
}

// devices is what `signalbox device list` shows.
func (s *server) devices(args ...string) (list []listedDevice) {
	s.t.Helper()
	cmd := exec.Command(program, append([]string{"device", "list", "-o", "json"}, args...)...)
	if cmd.Dir = s.dir; !s.dev { // whose database any command finds by itself
		cmd.Args = append(cmd.Args, "--config", s.conf)
	}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		s.t.Fatalf("device list: %v\n%s", err, out)
	}
	return list
}

// A plain phone that knows nothing of devices is one from its first REGISTER on: online, offline when its registration has ended, also while no server ran, over
// kill -9, until it is removed. RFC 3261, 10.2; RFC 5626, 4.1
func TestPhoneIsADevice(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "policy.toml")
	s := prepareServer(t, domain, "[policy]\nfile = \""+rules+"\"\n", "alice", "alice2")
	if err := os.WriteFile(rules, []byte("[[rule]]\nexpires_min = \"1s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	alice, other := s.dial("udp", "alice"), s.dial("tcp", "alice2")
	const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
	name := "alice@" + domain + "/urn:uuid:00000000-0000-1000-8000-aabbccddeeff"
	register := func(u *ua, params string) {
		t.Helper()
		res := u.ask("REGISTER", "sip:"+domain, "Contact: "+u.contact()+params)
		if res.code() != 200 {
			t.Fatal(res.start)
		}
		if got, want := res.get("P-Associated-URI"), "<sip:"+u.user+"@"+domain+">"; got != want { // RFC 7315, 4.1.2
			t.Errorf("P-Associated-URI: %s, want %s", got, want)
		}
	}
	device := func(online bool) listedDevice {
		t.Helper()
		list := s.devices("--device", name)
		if len(list) != 1 || list[0].Device != name || list[0].Online != online || list[0].Added || list[0].Kind != "phone" || list[0].Since == nil || list[0].First == nil {
			t.Fatalf("want %s, online %v; listed: %+v", name, online, list)
		}
		return list[0]
	}
	register(alice, instance)
	register(other, "")
	first := device(true)
	if first.Transport != "UDP" || first.Source != alice.conn.LocalAddr().String() || len(first.Users) != 1 {
		t.Errorf("%+v", first)
	}
	register(alice, instance+";expires=0")
	if gone := device(false); !gone.First.Equal(*first.First) || gone.Source != first.Source {
		t.Errorf("%+v, before %+v", gone, first)
	}
	s.kill()
	device(false) // from the database, without a server
	s.start()
	device(false)

	// Back, and then gone while no server runs.
	register(alice, instance+";expires=1")
	device(true)
	s.waitEvents("registered") // the feed has it
	s.kill()
	time.Sleep(1100 * time.Millisecond)
	s.start()
	if again := device(false); !again.First.Equal(*first.First) {
		t.Errorf("%+v, before %+v", again, first)
	}

	// A phone without an instance goes by its contact; its name is compared whole, and so is its user's.
	if list := s.devices("--user", "alice"); len(list) != 1 {
		t.Errorf("alice has %+v", list)
	}
	plain := "alice2@" + domain + "/" + strings.Trim(other.contact(), "<>")
	if list := s.devices("--device", plain); len(list) != 1 || list[0].Device != plain {
		t.Errorf("%s: %+v", plain, list)
	}
	s.fails("device", "show", "alice@"+domain+"/urn:uuid:00000000")
	s.command("device", "rm", name)
	s.fails("device", "rm", name)
	if list := s.devices(); len(list) != 1 || list[0].Device != plain {
		t.Errorf("left: %+v", list)
	}
	s.command("user", "rm", "alice2")
	if list := s.devices(); len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
	results.passed(t, "Go client", "RFC 3261, 10.2: a plain phone is a device, also when it has gone, over kill -9", "TestPhoneIsADevice", "udp")
	results.passed(t, "Go client", "RFC 3261, 10.2: a plain phone is a device, also when it has gone, over kill -9", "TestPhoneIsADevice", "tcp")
}

// fails wants that a command fails, with a reason.
func (s *server) fails(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(program, append(args, "--config", s.conf)...).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "signalbox: ") {
		s.t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
