// Package turn is a TURN server (RFC 8656) for our own users: browsers and phones whose network lets no media through send it by way of us. It decides who
// may use it (users, and the time-limited credentials that package main hands out to pages), what may be reached through it (no private network, and nothing
// of this machine but other relays and the media bridge), and how much; and it keeps from its users what could hurt them: connections that say nothing,
// frames that do not end, floods.
//
// Package main starts one Server. A message of a client comes by datagrams.go or stream.go, passes gate.go and is answered in request.go, allocate.go or
// refresh.go; what they change is in allocation.go. A packet takes the short way: datagrams.go or stream.go, allocation.go, relay.go, and back, without
// an allocation of memory.
//
// What bounds it stands in limits.go.
package turn
