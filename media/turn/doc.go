// Package turn is a TURN server (RFC 8656) for our own users: browsers and phones whose network lets no media through send it by way of us. The
// protocol is spoken by pion/turn; this package is what stands around it. It decides who may use it (users, and the time-limited credentials that
// package main hands out to pages), what may be reached through it (no private network, and nothing of this machine but other relays and the media
// bridge), and how much; and it keeps everything from the protocol that could hurt it: connections that say nothing, frames that do not end, floods.
//
// Package main starts one Server. The path of a packet is: datagrams.go or streams.go, gate.go, pion/turn, relay.go, and back; on a
// channel over UDP, datagrams.go, channels.go, relay.go, and back, without an allocation of memory of our own.
//
// What bounds it stands in limits.go.
package turn
