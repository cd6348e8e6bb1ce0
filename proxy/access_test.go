package proxy

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

func anybody(c *Config) { c.Inbound = Any }

func labs(c *Config) { c.AllowPrivate = true }

// hardening 26: nothing of what nobody vouches for is relayed: out of dialog, with a forged To tag, with a Route through us.
func TestHardening26Unauthenticated(t *testing.T) {
	for _, method := range strings.Fields("INVITE BYE OPTIONS PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE FOO") {
		for name, lines := range map[string][]string{
			"out of dialog": {},
			"To tag":        {"To: <sip:bob@example.org>;tag=guessed"},
			"our Route":     {"Route: <sip:192.0.2.100;lr>"},
			"both":          {"To: <sip:bob@example.org>;tag=guessed", "Route: <sip:example.org;lr>"},
		} {
			for _, from := range []string{"example.net", "example.org"} {
				t.Run(method+" "+name+" "+from, func(t *testing.T) {
					play(t, func(w *world) {
						mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
						w.user("bob", "192.0.2.2:5060", wire.UDP)
						mallory.sends(method, "sip:bob@example.org", append(lines, "From: <sip:alice@"+from+">;tag=x")...)
						mallory.hears("407")
					})
				})
			}
		}
	}
}

// hardening 26: an ACK cannot be challenged (RFC 3261, 22.1), so it must prove its dialog.
func TestHardening26ACK(t *testing.T) {
	for name, lines := range map[string][]string{
		"out of dialog": {},
		"To tag":        {"To: <sip:bob@example.org>;tag=guessed"},
		"our Route":     {"To: <sip:bob@example.org>;tag=guessed", "Route: <sip:192.0.2.100;lr>"},
		"forged token":  {"To: <sip:bob@example.org>;tag=guessed", "Route: <sip:" + strings.Repeat("AQ", 20) + "@192.0.2.100;lr>"},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
				w.user("bob", "192.0.2.2:5060", wire.UDP)
				mallory.sends("ACK", "sip:bob@192.0.2.2:5060", lines...)
			})
		})
	}
}

// hardening 21: who authenticates as bob is bob: From says nothing else.
func TestHardening21IdentityFraud(t *testing.T) {
	play(t, func(w *world) {
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		w.user("alice", "192.0.2.1:5060", wire.UDP)
		for _, from := range []string{"<sip:alice@example.org>", "<sip:bob@example.net>", "sip:Bob@example.org", "<tel:+15550100>"} {
			bob.sends("MESSAGE", "sip:alice@example.org", "From: "+from+";tag=x")
			bob.hears("403")
		}
	})
}

// hardening 6 and 21: what a phone asserts of its identity counts for nothing; what was proven is passed on in its place, unless
// privacy is asked for. RFC 3261, 16.6 step 5; RFC 3325, 5; RFC 3325, 7
func TestHardening21AssertedIdentity(t *testing.T) {
	boss := "P-Asserted-Identity: <sip:boss@example.org>"
	for _, test := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"replaced", []string{boss}, []string{"<sip:alice@example.org>"}},
		{"blank before the colon", []string{"P-Asserted-Identity : <sip:boss@example.org>"}, []string{"<sip:alice@example.org>"}},
		{"several", []string{boss + ", <tel:+15550100>", "p-asserted-IDENTITY: <sip:boss@example.org>"}, []string{"<sip:alice@example.org>"}},
		{"preferred only", []string{"P-Preferred-Identity: <sip:boss@example.org>"}, nil},
		{"private", []string{boss, "Privacy: id"}, nil},
		{"none", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
				alice.sends("MESSAGE", "sip:bob@example.org", test.lines...)
				got := bob.hearsRequest("MESSAGE")
				if pai := headers(got, "P-Asserted-Identity"); strings.Join(pai, "|") != strings.Join(test.want, "|") {
					t.Errorf("P-Asserted-Identity %q, want %q", pai, test.want)
				}
				if wire.Has(got, "P-Preferred-Identity") {
					t.Error("P-Preferred-Identity passes")
				}
			})
		})
	}
}

// hardening 6: a stranger's assertion goes no further.
func TestHardening6StrangersIdentity(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		eve.sends("MESSAGE", "sip:bob@example.org", "P-Asserted-Identity: <sip:boss@example.org>")
		if got := bob.hearsRequest("MESSAGE"); wire.Has(got, "P-Asserted-Identity") {
			t.Errorf("arrives as\n%s", got)
		}
	}, anybody)
}

// hardening 28: credentials for our realm are used up here; those for others are for proxies further on. RFC 3261, 22.3
func TestHardening28Credentials(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		theirs := `Digest username="alice", realm="example.net", nonce="x,realm=\"example.org\""`
		alice.sends("MESSAGE", "sip:bob@example.org",
			"Proxy-Authorization: "+theirs, `Proxy-Authorization: Digest username="a", realm="EXAMPLE.org"`, "Proxy-Authorization: Basic YTpi",
			`Authorization: Digest nonce="realm=\"example.net\"", REALM=example.org`)
		got := bob.hearsRequest("MESSAGE")
		if list := headers(got, "Proxy-Authorization"); len(list) != 2 || list[0] != theirs || list[1] != "Basic YTpi" {
			t.Errorf("Proxy-Authorization: %q", list)
		}
		if list := headers(got, "Authorization"); len(list) != 0 {
			t.Errorf("Authorization: %q", list)
		}
		alice.sends("MESSAGE", "sip:bob@example.org", "Authorization: NoOneKnowsThisScheme opaque-data=here", "Subject: behind it") // RFC 4475, 3.3.7
		if got := bob.hearsRequest("MESSAGE").String(); !strings.Contains(got, "Authorization: NoOneKnowsThisScheme opaque-data=here\r\nSubject: behind it\r\n") {
			t.Errorf("credentials for nobody here have moved:\n%s", got)
		}
	})
}

// hardening 31: a session token of ours goes no further, in a dialog as little as before it, whoever else has one of another kind keeps it. RFC 8898, 2.3
func TestHardening31SessionToken(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		ours := "Authorization: Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"session+jwt"}`)) + ".e30.AA"
		const theirs = "Authorization: bearer eyJhbGciOiJSUzI1NiJ9.e30.AA"
		expect := func(req *wire.Request) {
			t.Helper()
			if list := headers(req, "Authorization"); len(list) != 1 || "Authorization: "+list[0] != theirs {
				t.Errorf("Authorization of the %s: %q", req.Method, list)
			}
		}
		alice.sends("MESSAGE", "sip:bob@example.org", ours, theirs)
		expect(bob.hearsRequest("MESSAGE"))
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		caller.sends("ACK", ours, theirs)
		expect(bob.hearsRequest("ACK"))
		caller.sends("BYE", ours, theirs)
		expect(bob.hearsRequest("BYE"))
	})
}

// hardening 28: a callee that challenges, in a foreign realm or in ours, gets no credentials: the challenge goes to the caller.
func TestHardening28Challenge(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, called := establish(alice, "sip:bob@example.org", bob)
		_ = caller
		called.sends("BYE")
		bye := alice.hearsRequest("BYE")
		if wire.Has(bye, "Authorization") || wire.Has(bye, "Proxy-Authorization") {
			t.Errorf("BYE arrives as\n%s", bye)
		}
		alice.answers(bye, 407, `Proxy-Authenticate: Digest realm="example.org", nonce="evil"`)
		bob.hears("407")
		alice.hearsNothing()
	})
}

// hardening 40: no open relay: nobody unauthenticated gets anything out to another domain, however it is dressed up, and whatever the operator allows.
func TestHardening40OpenRelay(t *testing.T) {
	for _, test := range []struct {
		uri, want string
		lines     []string
	}{
		{"sip:carol@example.net", "407", nil},
		{"tel:+19005550100", "416", nil},
		{"sip:+19005550100@example.net;user=phone", "407", nil},
		{"sip:bob@example.org;maddr=192.0.2.20", "407", nil},
		{"sip:bob@example.org;maddr=192.0.2.20;transport=tcp", "407", nil},
		{"sip:bob@example.org", "407", []string{"Route: <sip:192.0.2.20;lr>"}},
		{"sip:bob@example.org", "407", []string{"Route: <sip:192.0.2.100;lr>, <sip:192.0.2.20;lr>"}},
		{"sip:192.0.2.100;lr", "407", []string{"Route: <sip:carol@example.net>"}}, // as a strict router writes it
		{"sip:+19005550100@example.org", "480", nil},                              // a stranger does not learn who exists: hardening 25
		{"sip:bob@example.org;transport=tcp", "480", nil},
	} {
		for _, method := range []string{"MESSAGE", "INVITE"} {
			play(t, func(w *world) {
				mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
				w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: netip.MustParseAddrPort("192.0.2.20:5060")}}
				w.users["bob"] = true
				mallory.sends(method, test.uri, test.lines...)
				mallory.hears(test.want)
			}, anybody)
		}
	}
}

// Inbound "authenticated" is the default: a stranger is challenged; "any" lets it call our users. Unknown, known and absent look the same to it (hardening 25).
func TestInbound(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		w.user("bob", "192.0.2.2:5060", wire.UDP)
		eve.sends("MESSAGE", "sip:bob@example.org")
		eve.hears("407")
	})
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		w.users["carol"] = true
		eve.sends("MESSAGE", "sip:bob@example.org")
		bob.answers(bob.hearsRequest("MESSAGE"), 200)
		eve.hears("200")
		eve.sends("MESSAGE", "sip:carol@example.org")
		absent := eve.hearsResponse("480")
		eve.sends("MESSAGE", "sip:nobody@example.org")
		unknown := eve.hearsResponse("480")
		if len(absent.Headers()) != len(unknown.Headers()) || absent.Reason != unknown.Reason {
			t.Errorf("absent and unknown differ:\n%s%s", absent, unknown)
		}
		eve.sends("MESSAGE", "sip:bob@example.org", "From: <sip:alice@example.org>;tag=x") // one of us must prove it
		eve.hears("407")
	}, anybody)
}

// hardening 41: nobody aims the server at machines that are no party: not by Route, not by Request-URI, not by DNS.
func TestHardening41SSRF(t *testing.T) {
	addrs := []string{
		"127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "0.1.2.3",
		"::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fc00::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::1",
		"192.0.2.100", // a listener of ours
	}
	for _, addr := range addrs {
		ip := netip.MustParseAddr(addr)
		host := addr
		if ip.Is6() {
			host = "[" + addr + "]"
		}
		t.Run(addr, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
				for proto, port := range map[wire.Proto]uint16{wire.UDP: 5060, wire.TCP: 5060} {
					w.names["evil.example.net"] = append(w.names["evil.example.net"], wire.Hop{Proto: proto, Addr: netip.AddrPortFrom(ip, port)})
				}
				if !w.IsLocal(host, 0) {
					for _, uri := range []string{"sip:x@" + host, "sip:x@" + host + ":6379;transport=tcp", "sip:" + host} {
						alice.sends("MESSAGE", uri)
						alice.hears("403")
					}
				}
				alice.sends("MESSAGE", "sip:x@evil.example.net")
				alice.hears("403")
				alice.sends("MESSAGE", "sip:alice@example.org;maddr="+host)
				if !w.IsLocal(host, 0) {
					alice.hears("403")
				} else {
					alice.hears("MESSAGE") // maddr is ours: RFC 3261, 16.4
				}
			})
		})
	}
}

// hardening 41: a user pre-loads Routes through us only.
func TestHardening41PreloadedRoute(t *testing.T) {
	for _, route := range []string{
		"<sip:192.0.2.100;lr>,<sip:127.0.0.1:22;transport=tcp;lr>", "<sip:127.0.0.1:22;transport=tcp;lr>", "<sip:192.0.2.20;lr>", "<sip:example.org;lr>, <sip:192.0.2.20>",
		"<sip:example.org:22;lr>", "garbage", "<tel:+15550100>",
	} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.sends("INVITE", "sip:bob@example.org", "Route: "+route)
			alice.hears("403")
		})
	}
	play(t, func(w *world) { // within a dialog a phone's leg is its flow, whatever Route stands there
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		caller.routes = append(caller.routes, "<sip:127.0.0.1:22;transport=tcp;lr>")
		caller.sends("INFO")
		bob.hears("INFO")
		caller.sends("ACK")
		bob.hears("ACK")
		caller.routes = caller.routes[:1]
		for _, target := range []string{"sip:bob@127.0.0.1:22;transport=tcp", "sip:bob@192.0.2.2:22", "sip:bob@192.0.2.20", "sip:bob@192.0.2.2;maddr=127.0.0.1", "sip:bob@192.0.2.2:6379;transport=tcp"} {
			caller.target = target
			caller.sends("INFO")
			bob.hears("INFO")
		}
	})
}

// The operator of a LAN allows private addresses.
func TestAllowPrivate(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		pbx := w.phone("pbx", "10.0.0.1:5060", wire.UDP)
		alice.sends("MESSAGE", "sip:x@10.0.0.1")
		pbx.answers(pbx.hearsRequest("MESSAGE"), 200)
		alice.hears("200")
	}, labs)
}

// hardening 42: a callee that changes the recorded route leads nobody through us: who follows it proves no dialog.
func TestHardening42AlteredRecordRoute(t *testing.T) {
	for _, change := range []func(string) string{
		func(string) string { return "<sip:192.0.2.66;lr>" },
		func(rr string) string { return rr + ", <sip:192.0.2.66;lr>" },
		func(rr string) string { return strings.Replace(rr, "sip:A", "sip:B", 1) }, // no token any more
		altered,
	} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			invite := alice.invites("sip:bob@example.org")
			got := bob.hearsRequest("INVITE")
			wire.Set(got, "Record-Route", change(wire.Get(got, "Record-Route")))
			bob.answers(got, 200)
			d := alice.dialogOf(invite, alice.hearsResponse("200"))
			d.sends("ACK")
			d.sends("BYE")
			for _, l := range bob.inbox { // an additional Route does not matter on a phone's leg
				if !strings.HasPrefix(l.text, "BYE") && !strings.HasPrefix(l.text, "ACK") {
					t.Errorf("bob hears %s", startLine(l.text))
				}
			}
			bob.inbox = nil
			for _, l := range alice.inbox {
				if !strings.HasPrefix(l.text, "SIP/2.0 40") {
					t.Errorf("alice hears %s", startLine(l.text))
				}
			}
			alice.inbox = nil
		})
	}
}

// hardening 48: nobody gets into a dialog by guessing its Call-ID and tags; a changed token is answered 403.
func TestHardening48InDialog(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		guess := *caller
		guess.p, guess.routes = mallory, nil
		for _, method := range []string{"BYE", "INVITE", "UPDATE"} {
			guess.sends(method)
			mallory.hears("407")
		}
		guess.routes = []string{altered(caller.routes[0])}
		guess.sends("BYE")
		mallory.hears("403")
		guess.routes = caller.routes // the token of this dialog, for another
		guess.callID = "another"
		guess.sends("BYE")
		mallory.hears("403")
		mallory.sends("INVITE", "sip:bob@example.org", "Route: "+caller.routes[0], "Call-ID:"+caller.callID) // and for a new call
		mallory.hears("407")
	})
}

// hardening 48: a response for a branch that nobody was given goes nowhere.
func TestHardening48ForgedResponse(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		mallory := w.phone("mallory", "192.0.2.66:5060", wire.UDP)
		alice.invites("sip:bob@example.org")
		invite := bob.hearsRequest("INVITE")
		forged := wire.NewResponse(invite, 200, "", "mallory")
		wire.Pop(forged, "Via")
		wire.Push(forged, "Via", fmt.Sprintf("SIP/2.0/UDP 192.0.2.100:5060;branch=%s", wire.NewBranch()))
		mallory.responds(forged)
		alice.hearsNothing()
		bob.answers(invite, 486)
		bob.hears("ACK")
		alice.hears("486")
	})
}

// A stranger who was called once is no way out to third parties: to another domain only our own side of the dialog may send.
func TestStrangersDialogIsNoRelay(t *testing.T) {
	play(t, func(w *world) {
		eve := w.phone("eve", "192.0.2.9:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, called := establish(eve, "sip:bob@example.org", bob)

		back := *called // eve turns the dialog round and names a target
		back.p, back.target = eve, "sip:victim@192.0.2.77"
		back.sends("INVITE")
		eve.hears("407")
		back.sends("ACK")

		called.sends("INFO") // the user's own way is open
		eve.answers(eve.hearsRequest("INFO"), 200)
		bob.hears("200")
		caller.sends("BYE")
		bob.answers(bob.hearsRequest("BYE"), 200)
		eve.hears("200")
	}, anybody)
}

// A user whose phone has moved to another address proves itself by its password instead.
func TestMovedPhoneAuthenticates(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		server := w.phone("server", "192.0.2.20:5060", wire.UDP)
		w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: server.addr}}
		caller, _ := establish(alice, "sip:carol@example.net", server)
		moved := w.phone("moved", "192.0.2.11:5060", wire.UDP)
		moved.user = "alice"
		caller.p = moved
		caller.sends("BYE")
		moved.hears("407")
		caller.seq--
		moved.send(strings.Replace(caller.request("BYE"), "\r\nContent-Length", "\r\n"+alice.credentials()+"\r\nContent-Length", 1))
		server.answers(server.hearsRequest("BYE"), 200)
		moved.hears("200")
	})
}

func FuzzCredentialsRealm(f *testing.F) {
	f.Add(`Digest username="a", realm="example.org"`)
	f.Add(`Digest nonce="\"`)
	f.Add(`Digest realm`)
	f.Fuzz(func(t *testing.T, value string) {
		if realm, ok := credentialsRealm(value); ok && len(realm) > len(value) {
			t.Errorf("%q from %q", realm, value)
		}
	})
}

// altered changes one character of the signature in a Record-Route value.
func altered(rr string) string {
	b := []byte(rr)
	if b[15] == 'x' {
		b[15] = 'y'
	} else {
		b[15] = 'x'
	}
	return string(b)
}
