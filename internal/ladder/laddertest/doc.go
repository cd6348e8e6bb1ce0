// Package laddertest plays a ladder (package ladder) against a server: lines of phones are played at their time, what the server sends is compared
// with its lines, exactly and to the millisecond. Network and time are in memory (testing/synctest), so that a minute takes a millisecond and a
// failure happens again. The caller builds the server on the Network it is handed; only tests import this package.
//
// # Directives
//
//	server NAME [ADDR...]             the server's name (proxy) and addresses (192.0.2.100 2001:db8::100); ports 5060, and 5061 for TLS
//	domain NAME                       its domain (example.org)
//	phone NAME [ADDR[:PORT]] [udp|tcp|tls] [user=U] [domain=D] [host=H] [mtu=N] [rport] [listens] [stranger]
//	                                  alice, bob, carol, dave and erin need none: they have 192.0.2.1 to .5, UDP and an account each.
//	                                  host is what a phone behind NAT believes its address to be; rport asks for RFC 3581; mtu is its path's;
//	                                  listens accepts connections; a stranger or somebody of another domain has no account
//	user NAME                         an account without a phone
//	registered NAME [q=Q] [expires=S] registers before the ladder begins, unseen
//	dns NAME ADDR...                  the addresses of a host name, in order of trial
//	dns NAME TYPE DATA                a record of type SRV, NAPTR or CNAME, as in a zone file
//	option KEY VALUE                  for the caller (Env.Options)
//
// # Flags of a phone's line
//
//	[lost]        the message never arrives; on a server's line: the phone never sees it
//	[again]       the same bytes as when this phone sent this line last
//	[noauth]      without credentials; else a phone answers every challenge, and uses the nonce it knows for what stands outside a dialog
//	[password=P]  with a wrong password
//	[call=ID]     the call with this Call-ID; else the latest that fits: what a phone sends with a URI opens a new one, unless it was challenged
//	[to=TAG]      the dialog with this tag; a phone's tags are its name
//	[body=N]      with a body of N bytes
//	[strict]      as a phone of RFC 2543 that sends to the first route
//	[forward]     passes on what came last, as a proxy that adds only its Via
//
// Flags that the server's lines get by themselves: [new] is the first message on a connection that the server has opened, [refused] one for a
// connection that nobody accepts, or for the UDP port of a phone that has closed it: an ICMP error says so, until the phone sends again.
//
// A phone's line that says only "raw" sends its | lines as they stand.
//
// The test that calls Run owns the flag -update (flag.Bool), which rewrites the server's lines.
package laddertest
