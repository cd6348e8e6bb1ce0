// Package udp is the media bridge's and TURN's way to the network: raw UDP sockets that are read without a goroutine, an allocation or a lock for each packet.
//
// A Poller reads many sockets in one goroutine: those of phones and relays, and its share of a port that all browsers or clients send to, which is opened once for each
// Poller (SO_REUSEPORT) and read in batches; the kernel keeps the packets of one source on one socket. When many come they gather (gather.go, ADR 13). A Pool hands out
// the ports of phones. Packages media and media/turn are the callers; limits.go bounds what is read at once.
package udp
