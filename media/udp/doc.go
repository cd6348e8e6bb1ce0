// Package udp is the media bridge's way to the network: raw UDP sockets that are read without a goroutine, an allocation or a lock for each packet.
//
// A Listener is one port for all browsers, opened once per core (SO_REUSEPORT) and read in batches; the kernel keeps the packets of one source on one
// socket. A Poller waits for the many sockets of phones in one goroutine. A Pool hands out the ports of those. Package media is the caller;
// limits.go bounds what is read at once.
package udp
