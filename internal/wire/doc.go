// Package wire turns bytes into SIP messages and back: parsing, framing, validating, writing (RFC 3261, 7, 18.3, 19.1, 20 and 25).
//
// Parse reads a datagram, a WebSocket message, or what Framer cut from a stream; Append writes. In between a message is a list of raw
// header fields in the order and spelling they came in, plus the few values that every transaction needs, parsed once into Head. What the
// server does not touch goes out as it came in, byte for byte.
//
// The reader is strict where two readers could disagree (line ends, lengths, singletons, URIs) and lenient where phones need it (white space
// around separators, compact names, missing Max-Forwards). Every error carries the status to answer.
//
// Every room above uses this package; it uses only sipgo's message model (docs/adr/0001-message-model.md). It does no I/O, starts no goroutine
// and keeps no state; limits.go bounds what one message may cost.
//
// Strings in a message are parts of the message's head: one that is kept longer than its transaction must be cloned (strings.Clone),
// or it keeps the whole head in memory.
package wire
