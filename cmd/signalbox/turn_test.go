package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// What cannot be in [turn] is shown where it stands.
func TestTURNConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"address":   {`udp = "3478"`, `turn.udp: "3478" is not an address to listen on: want "IP:PORT" or ":PORT"`},
		"relay":     {`relay = "100-50"`, "turn.relay: "},
		"network":   {`peers = ["192.168.0.0/16", "192.168.1.1/16"]`, `turn.peers[1]: "192.168.1.1/16" is not a network: want for example "192.168.0.0/16"`},
		"no number": {`allocations_per_user = 0`, "turn.allocations_per_user: 0: want a number from 1 to 10000"},
		"rate":      {`kbits_per_user = -1`, "turn.kbits_per_user: -1: want a number from 1 to 10000000"},
		"unknown":   {`realm = "x"`, "unknown key turn.realm; known here: udp, tcp, tls, relay, peers, allocations_per_user, kbits_per_user"},
	} {
		path := writeFile(t, "sb.toml", "domain = \"example.org\"\n[turn]\n"+tt.text+"\n")
		_, err := loadConfig(path, serveDefaults())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "sb.toml:3:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTURNConfig(t *testing.T) {
	path := writeFile(t, "sb.toml", `
domain = "example.org"
[turn]
udp = "192.0.2.1:3478"
tcp = ""
tls = [":5349", ":443"]
relay = "50000-50999"
peers = "192.168.0.0/16"
allocations_per_user = 8
kbits_per_user = 500
`)
	c, err := loadConfig(path, serveDefaults())
	if err != nil {
		t.Fatal(err)
	}
	got := c.turn
	if !slices.Equal(got.udp, []string{"192.0.2.1:3478"}) || len(got.tcp) != 0 || !slices.Equal(got.tls, []string{":5349", ":443"}) || got.unasked ||
		got.ports.First != 50000 || got.ports.Last != 50999 || !slices.Equal(got.peers, []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}) ||
		got.allocations != 8 || got.kbits != 500 {
		t.Errorf("%+v", got)
	}
}
