// Package proxy forwards requests and brings their responses back (RFC 3261, 16): validation 16.3, routes 16.4, targets 16.5, forwarding
// 16.6, responses 16.7, Timer C 16.8, transport errors 16.9, CANCEL 16.10; with loop detection and Max-Breadth (RFC 5393), double
// Record-Route (RFC 5658), and the changes of RFC 4320 and RFC 6026.
//
// The transaction layer calls ServeSIP for every request that is not for the registrar. One call is one response context: it belongs to the
// owner of its server transaction, its client transactions and timers share that owner, so that no two of its events run at once and
// none overtakes another.
//
// Every method is forwarded alike, those nobody knows and MESSAGE (RFC 3428, 6) too.
//
// The proxy keeps no dialogs. What later requests of a dialog need is signed into the Record-Route value (token.go), and who carries that
// value is a member of that dialog and of nothing else (access.go).
//
// What bounds it stands in limits.go.
package proxy
