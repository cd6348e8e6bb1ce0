// Package location is the location service: the bindings of every address-of-record (RFC 3261, 10.2.1 and 10.3).
//
// Reads come from memory: an index sharded by address, whose answers are immutable slices. A change is computed at once on the newest state of
// its address, committed or not, and then waits in a queue for the one committer goroutine, which writes what has gathered in one
// transaction (synchronous=FULL), publishes it and says done: what was acknowledged is on disk. The same goroutine lets bindings expire, from
// a timing wheel.
//
// On disk the bindings are a log: one row of table binding is one group commit, the latest record of an address counts, and what is still
// alive in the oldest rows moves to the newest one as the dead part grows (docs/adr/0002-bindings-log.md says what this saves).
//
// The registrar calls Update, the proxy Lookup, cmd Open, All and Close. What bounds it stands in limits.go.
package location
