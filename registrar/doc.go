// Package registrar answers REGISTER for our own domains (RFC 3261, 10.3), with flows of outbound (RFC 5626, 6), Path (RFC 3327, 5.3), Service-Route
// (RFC 3608, 6.3) and GRUUs (RFC 5627, 5). Bindings live in location, accounts in auth; all it remembers itself is which addresses a connection serves, to
// say so when it breaks (flows.go).
//
// The dispatcher in cmd calls ServeSIP for every REGISTER whose Request-URI is one of our domains. It runs as the owner of its transaction and
// does not block: the 200 is sent when the location service says that the bindings are on disk.
//
// What bounds it stands in limits.go.
package registrar
