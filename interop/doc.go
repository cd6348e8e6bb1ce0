// Package interop holds the tests against the outside world: the real program, started as its users start it, meets SIPp, baresip and Linphone over UDP, TCP and TLS.
//
// sipp/ has the SIPp scenarios, each a story of the standards it names; every one can be run by hand as well. kamailio/ and bench/ are the peer and the
// program of `make bench-kamailio`. RESULTS.md is written by `go test ./interop -update` from what passed; a test run fails when it is out of date.
// A peer that is not installed (tools.sh installs them) is skipped by name.
package interop
