package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"signalbox/internal/wire"
)

// RFC 3261, 16.4: a first Route value that means us is removed, by whichever listener or name it means us; other header fields stay as they are.
func TestOwnRouteIsRemoved(t *testing.T) {
	for _, route := range []string{
		"<sip:192.0.2.100;lr>", "<sip:192.0.2.100:5060;transport=tcp;lr>", "<sips:192.0.2.100:5061;lr>", "<sip:[2001:db8::100]:5060;lr>",
		"<sip:example.org;lr>", "<sip:EXAMPLE.org:5060>", "<sip:example.org;lr>, <sip:192.0.2.100;lr>", `"Name" <sip:anybody@example.org;lr>;x=y`,
	} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.sends("MESSAGE", "sip:bob@example.org", "Route: "+route)
			if got := bob.hearsRequest("MESSAGE"); wire.Has(got, "Route") {
				t.Errorf("%s: arrives with Route %q", route, headers(got, "Route"))
			}
		})
	}
}

// RFC 3261, 16.4: a strict router has put our Record-Route value into the Request-URI; the last Route value takes its place.
func TestStrictRouterUpstream(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		ours, _ := wire.ParseAddress(caller.routes[0])
		caller.routes = []string{"<" + caller.target + ">"}
		caller.target = ours.URI.Raw
		caller.sends("INFO")
		got := bob.hearsRequest("INFO sip:bob@192.0.2.2:5060")
		if wire.Has(got, "Route") {
			t.Errorf("arrives as\n%s", got)
		}
		caller.sends("ACK")
		bob.hears("ACK sip:bob@192.0.2.2:5060")
	})
}

// RFC 3261, 16.12.1.2: P4 and P2 of the example, with strict routers on either side, the rest of the Route kept in order.
func TestStrictRouterBothSides(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		p3 := w.phone("p3", "192.0.2.3:5060", wire.UDP)
		w.names["p3.example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: p3.addr}}
		w.names["example.net"] = w.names["p3.example.net"]
		caller, _ := establish(alice, "sip:carol@example.net", p3)

		caller.target = "sip:carol@u2.example.net"
		caller.routes = append(caller.routes, "<sip:p3.example.net>", "<sip:p5.example.net;lr>;x=1")
		caller.sends("INFO")
		got := p3.hearsRequest("INFO sip:p3.example.net SIP")
		if list := wire.List(got, "Route"); len(list) != 2 || list[0] != "<sip:p5.example.net;lr>;x=1" || list[1] != "<sip:carol@u2.example.net>" {
			t.Errorf("Route: %q", list)
		}

		ours, _ := wire.ParseAddress(caller.routes[0])
		caller.routes = []string{"<sip:p3.example.net;lr>", "<sip:p5.example.net;lr>", "<" + caller.target + ">"}
		caller.target = ours.URI.Raw
		caller.sends("INFO")
		got = p3.hearsRequest("INFO sip:carol@u2.example.net")
		if list := wire.List(got, "Route"); len(list) != 2 || list[0] != "<sip:p3.example.net;lr>" || list[1] != "<sip:p5.example.net;lr>" {
			t.Errorf("Route: %q", list)
		}
	})
}

// RFC 3261, 16.6 step 6: a strict router next: its URI becomes the Request-URI, ours goes to the end of the Route.
func TestStrictRouterDownstream(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		caller.routes = append(caller.routes, "<sip:edge.example.net>")
		caller.sends("INFO")
		got := bob.hearsRequest("INFO sip:edge.example.net")
		if list := wire.List(got, "Route"); len(list) != 1 || list[0] != "<sip:bob@192.0.2.2:5060>" {
			t.Errorf("Route: %q", list)
		}
	})
}

// RFC 3261, 16.4: maddr that names us, on the port and transport the request came by, is stripped with them; else the request goes where maddr says, and comes
// back if that is us.
func TestMaddr(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		for _, uri := range []string{"sip:bob@example.org;maddr=192.0.2.100", "sip:bob@example.org:5060;maddr=example.org;transport=udp", "sip:bob@example.net;maddr=192.0.2.100"} {
			alice.sends("MESSAGE", uri)
			if strings.Contains(uri, "example.net") {
				alice.hears("502") // maddr is stripped, and the domain is not ours
			} else {
				bob.hears("MESSAGE sip:bob@192.0.2.2:5060")
			}
		}
		alice.sends("MESSAGE", "sip:bob@example.org;maddr=192.0.2.100;transport=tcp")
		alice.hears("403") // would come back to us
		other := w.phone("other", "192.0.2.30:5060", wire.UDP)
		alice.sends("MESSAGE", "sip:bob@example.org;maddr=192.0.2.30")
		other.hears("MESSAGE sip:bob@example.org;maddr=192.0.2.30") // RFC 3261, 16.5: the only target, as it is
	})
}

func TestWithout(t *testing.T) {
	for _, test := range []struct {
		uri   string
		port  int
		names []string
		want  string
	}{
		{"sip:bob@example.org:5070;maddr=192.0.2.1;transport=udp;x=y?Subject=a", 0, []string{"maddr", "transport"}, "sip:bob@example.org;x=y"},
		{"sips:bob:pw@[2001:db8::1]:5061;MADDR=x", 5061, []string{"maddr"}, "sips:bob:pw@[2001:db8::1]:5061"},
		{"sip:example.org;lr;method=INVITE", 0, []string{"method"}, "sip:example.org;lr"},
	} {
		if got := without(uri(test.uri), test.port, test.names...); got != test.want {
			t.Errorf("%s: %s, want %s", test.uri, got, test.want)
		}
	}
}

// RFC 3261, 16.6 step 4: what starts dialogs is recorded, with lr; what cannot, is not. RFC 6665, 4.3: NOTIFY too.
func TestRecordRoute(t *testing.T) {
	for method, want := range map[string]int{"INVITE": 1, "SUBSCRIBE": 1, "REFER": 1, "NOTIFY": 1, "FOO": 1, "MESSAGE": 0, "OPTIONS": 0, "PUBLISH": 0} {
		play(t, func(w *world) {
			alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
			bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
			alice.sends(method, "sip:bob@example.org", "Record-Route: <sip:192.0.2.50;lr>")
			if method == "INVITE" {
				alice.hears("100")
			}
			list := headers(bob.hearsRequest(method), "Record-Route")
			if len(list) != want+1 || list[want] != "<sip:192.0.2.50;lr>" {
				t.Fatalf("%s: Record-Route %q", method, list)
			}
			if want == 1 && !(strings.HasPrefix(list[0], "<sip:A") && strings.HasSuffix(list[0], "@192.0.2.100:5060;lr>")) {
				t.Errorf("%s: Record-Route %q", method, list)
			}
		})
	}
}

// RFC 5658, 5: two values where the sides differ, the outgoing one on top, both taken away again within the dialog, in either direction.
func TestDoubleRecordRoute(t *testing.T) {
	type peer struct {
		addr  string
		proto wire.Proto
		ends  string // of the value that leads to us from there
	}
	udp := peer{"192.0.2.1:5060", wire.UDP, "@192.0.2.100:5060;lr>"}
	tcp := peer{"192.0.2.2:40000", wire.TCP, "@192.0.2.100:5060;transport=tcp;lr>"}
	tls := peer{"192.0.2.3:40000", wire.TLS, "@192.0.2.100:5061;transport=tls;lr>"}
	udp6 := peer{"[2001:db8::4]:5060", wire.UDP, "@[2001:db8::100]:5060;lr>"}
	for _, pair := range [][2]peer{{udp, tcp}, {tcp, udp}, {udp, tls}, {tls, tcp}, {udp, udp6}, {udp6, udp}} {
		t.Run(pair[0].ends+pair[1].ends, func(t *testing.T) {
			play(t, func(w *world) {
				alice := w.user("alice", pair[0].addr, pair[0].proto)
				bob := w.user("bob", pair[1].addr, pair[1].proto)
				alice.invites("sip:bob@example.org")
				invite := bob.hearsRequest("INVITE")
				list := headers(invite, "Record-Route")
				if len(list) != 2 || !strings.HasSuffix(list[0], pair[1].ends) || !strings.HasSuffix(list[1], pair[0].ends) {
					t.Fatalf("Record-Route: %q", list)
				}
				bob.answers(invite, 486)
				bob.hears("ACK")
				alice.hears("486")

				caller, called := establish(alice, "sip:bob@example.org", bob)
				caller.sends("INFO")
				got := bob.hearsRequest("INFO")
				if wire.Has(got, "Route") {
					t.Errorf("arrives with Route %q", headers(got, "Route"))
				}
				bob.answers(got, 200)
				alice.hears("200")
				called.sends("BYE")
				alice.answers(alice.hearsRequest("BYE"), 200)
				bob.hears("200")
				w.idle()
			})
		})
	}
}

// The value names the transport that the peer uses. RFC 7118, 5.2 for WebSocket
func TestRecordRouteTransport(t *testing.T) {
	for proto, want := range map[wire.Proto]string{wire.UDP: "", wire.TCP: ";transport=tcp", wire.TLS: ";transport=tls", wire.WS: ";transport=ws", wire.WSS: ";transport=ws"} {
		s := side{proto: proto, flow: &flow{id: wire.FlowID{Proto: wire.TCP, Remote: netip.MustParseAddrPort("192.0.2.1:40000")}}}
		if got := s.recordRoute([]byte("A")); got != "<sip:A@192.0.2.100:5060"+want+";lr>" {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

// RFC 3261, 16.6 step 4: sips where the Request-URI is a sips URI; a sips call runs over TLS on both sides.
func TestRecordRouteSIPS(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:40000", wire.TLS)
		bob := w.user("bob", "192.0.2.2:40000", wire.TLS, contact("sips:bob@192.0.2.2:5061"))
		alice.invites("sips:bob@example.org")
		invite := bob.hearsRequest("INVITE sips:bob@192.0.2.2:5061")
		if list := headers(invite, "Record-Route"); len(list) != 1 || !strings.HasPrefix(list[0], "<sips:") || !strings.HasSuffix(list[0], "@192.0.2.100:5061;lr>") {
			t.Errorf("Record-Route: %q", list)
		}
	})
}

// RFC 3261, 16.6 step 4: within the dialog the same value is recorded again, so that a failed endpoint finds the way back; it stays valid in both directions.
func TestRecordRouteInDialog(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, called := establish(alice, "sip:bob@example.org", bob)
		called.sends("INVITE") // a re-INVITE from the callee
		bob.hears("100")
		again := alice.hearsRequest("INVITE sip:alice@192.0.2.1:5060")
		if list := headers(again, "Record-Route"); len(list) != 1 || list[0] != caller.routes[0] {
			t.Errorf("Record-Route: %q, want %q", list, caller.routes)
		}
		alice.answers(again, 200)
		bob.hears("200")
		called.sends("ACK")
		alice.hears("ACK")
	})
}

// A dialog outlives a restart of the server: the state is in the route.
func TestDialogOutlivesRestart(t *testing.T) {
	var caller *phoneDialog
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller, _ = establish(alice, "sip:bob@example.org", bob)
	})
	play(t, func(w *world) {
		caller.p = w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:5060", wire.UDP)
		caller.sends("BYE")
		bob.hears("BYE")
	})
}

// RFC 5626, 5.3; hardening 46: a flow is a connection, not an address: whoever connects from the same address and port later gets nothing.
func TestHardening46FlowReuse(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		bob := w.user("bob", "192.0.2.2:40000", wire.TCP, behindNAT)
		caller, _ := establish(alice, "sip:bob@example.org", bob)
		bob.flow.close()
		mallory := w.phone("mallory", "192.0.2.2:40000", wire.TCP)
		alice.sends("INVITE", "sip:bob@example.org")
		alice.hears("480")
		caller.target = "sip:bob@10.0.0.2:5060;transport=tcp"
		caller.sends("INFO")
		alice.hears("480")
		caller.sends("ACK")
		mallory.hearsNothing()
	})
}

// A call into another domain: its own proxy records the route, and further requests follow it. RFC 3261, 16.12 step 3
func TestForeignDialog(t *testing.T) {
	play(t, func(w *world) {
		alice := w.user("alice", "192.0.2.1:5060", wire.UDP)
		server := w.phone("server", "192.0.2.20:5060", wire.UDP)
		w.names["example.net"] = []wire.Hop{{Proto: wire.UDP, Addr: server.addr}}
		w.names["edge.example.net"] = []wire.Hop{{Proto: wire.TCP, Addr: netip.MustParseAddrPort("192.0.2.21:5060")}}
		edge := w.phone("edge", "192.0.2.21:5060", wire.TCP)
		caller, called := establish(alice, "sip:carol@example.net", server)

		caller.routes = append(caller.routes, "<sip:edge.example.net;lr>")
		caller.sends("INFO")
		got := edge.hearsRequest("INFO sip:server@192.0.2.20:5060")
		if list := headers(got, "Route"); len(list) != 1 || list[0] != "<sip:edge.example.net;lr>" {
			t.Errorf("Route: %q", list)
		}
		caller.routes = caller.routes[:1]
		caller.sends("ACK")
		server.hears("ACK")
		caller.sends("BYE") // without a further Route the Request-URI leads
		server.hears("BYE")
		called.sends("BYE")
		alice.hears("BYE sip:alice@192.0.2.1:5060")
	})
}
