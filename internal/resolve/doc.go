// Package resolve turns a SIP or SIPS URI into next hops in order of trial: RFC 3263, 4 with RFC 2782 (SRV), RFC 3403 (NAPTR) and RFC 2308 (negative answers).
//
// The proxy calls Resolve for every request that leaves by a URI and Failed for every hop that did not answer. Numeric hosts and cached
// names are answered at once on the caller's goroutine; what needs a query runs on a goroutine of its own, so that a slow name server holds up
// nobody else. The queries in flight, the cache, the records taken from one answer and the time of a whole lookup are bounded in limits.go.
package resolve
