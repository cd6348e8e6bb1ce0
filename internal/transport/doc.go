// Package transport carries SIP messages over UDP, TCP, TLS and WebSocket (RFC 3261, 18; RFC 3581; RFC 5626, 3.5, 8; RFC 5922; RFC 7118).
//
// It turns what arrives into messages with a flow (a connection, or a pair of UDP addresses), answers what is no SIP message itself (keep-alives,
// STUN bindings, unparsable requests), and sends bytes to flows. It knows no transactions and no URIs: cmd binds it, the transaction layer
// receives from it, the proxy dials through it.
//
// UDP has one socket for two cores and each listen address, read and written in batches, which gather for up to 8 ms when many datagrams come (gather.go); nothing is
// remembered of a source. A connection has one
// goroutine, which reads; writing is done by whoever sends, and a second goroutine lives only while the peer does not read. Nothing here blocks a sender.
// What bounds it stands in limits.go: datagrams and bytes waiting, connections in all and per address, the time for a handshake and for a message.
//
// Linux only: batches use recvmmsg and sendmmsg.
package transport
