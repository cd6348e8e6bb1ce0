package interop

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Linphone's console phone registers, is seen by `signalbox reg list`, and unregisters.
func TestLinphoneRegisters(t *testing.T) {
	if _, err := exec.LookPath("linphonec"); err != nil {
		t.Skip("SKIPPED: linphonec is not installed (interop/tools.sh installs it)")
	}
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "alice")
			port := portOf(freeAddr(t))
			rc := s.file("linphonerc", fmt.Sprintf("[sip]\nsip_port=%s\nsip_tcp_port=%s\nsip_tls_port=0\nuse_ipv6=0\n", port, port))
			out := &output{}
			if err := os.MkdirAll(filepath.Join(s.dir, ".local/share/linphone"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("linphonec", "-c", rc, "-d", "6")
			cmd.Env = append(cmd.Environ(), "HOME="+s.dir)
			cmd.Stdout, cmd.Stderr = out, out
			keys, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cmd.Process.Kill()
				cmd.Wait()
				if t.Failed() {
					t.Logf("linphonec:\n%s", tail(out.String(), 4000))
				}
			})
			waitFor(t, "prompt", func() bool { return strings.Contains(out.String(), "linphonec>") })
			target := map[string]string{"udp": s.udp, "tcp": s.tcp}[transport]
			fmt.Fprintf(keys, "register sip:alice@%s sip:%s;transport=%s %s\n", domain, target, transport, password("alice"))
			list := func() string {
				text, _ := exec.Command(program, "reg", "list", "--config", filepath.Join(s.dir, "signalbox.toml")).CombinedOutput()
				return string(text)
			}
			waitFor(t, "registration", func() bool { return strings.Contains(list(), "alice") })
			io.WriteString(keys, "unregister\nquit\n")
			waitFor(t, "end of the registration", func() bool { return !strings.Contains(list(), "alice") })
			results.passed(t, "Linphone", "linphonec registers and unregisters", "TestLinphoneRegisters", transport)
		})
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 300 { // a machine may be busy
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("no %s", what)
}
