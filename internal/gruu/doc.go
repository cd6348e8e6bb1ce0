// Package gruu makes and opens Globally Routable User Agent URIs (RFC 5627, 5.4): addresses that lead to one instance of an address-of-record.
//
// A public GRUU is the address-of-record with a gr parameter, signed by us, so that one we have made is told from one that somebody made up although we
// remember none. A temporary GRUU hides everything: its user part is the address, the instance and its epoch, sealed. So neither needs any
// state, and both outlive a restart.
//
// The registrar hands them out, the proxy opens them; who is registered by then, they ask location.
package gruu
