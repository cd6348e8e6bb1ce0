// Package messages lets a page without a SIP stack chat with phones: a data channel (RFC 8831) with the label and protocol sip-message on one side,
// SIP MESSAGE (RFC 3428) on the other.
//
// To the rest of the server a page is a phone like any other. Each has a flow of its own (transport.Flow), by which it registers, sends and is
// reached; its requests go through the transaction layer, registrar, policy and proxy as if they had come from a socket. So nothing here routes, permits
// or forks. What is different: the page has proven who it is over HTTP, once, and Proven tells for which flows.
//
// The frames of the channel are JSON, one message each:
//
//	page:   {"to":"sip:bob@example.org","text":"Hello","id":"1"}
//	server: {"id":"1","status":200,"reason":"OK"}
//	server: {"from":"sip:bob@example.org","text":"Hello yourself"}
//
// and once, when the page can be reached, {"user":"sip:alice@example.org"}; a frame with a status and no id says why it cannot.
//
// Package main opens a session for each POST /messages. What bounds it: sessions in all and of one user, the time until the channel is open, the life
// of a session, the size of frames, their rate (a page that sends faster is read more slowly), and what waits in both directions (limits.go).
package messages
