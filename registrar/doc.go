// Package registrar answers REGISTER for our own domains (RFC 3261, 10.3). It keeps no state: bindings live in location, accounts in auth.
//
// The dispatcher in cmd calls ServeSIP for every REGISTER whose Request-URI is one of our domains. It runs as the owner of its transaction and
// does not block: the 200 is sent when the location service says that the bindings are on disk.
//
// What bounds it stands in limits.go.
package registrar
