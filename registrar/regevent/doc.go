// Package regevent tells subscribers how registrations change: it is the notifier (RFC 6665, 4.2) of the event package reg (RFC 3680, 4), with the GRUU elements
// of RFC 5628.
//
// The dispatcher in cmd calls ServeSIP for every SUBSCRIBE that Serves claims: those to our addresses with Event: reg, and those within the dialogs they made. Other
// event packages are for the phones, and pass through the proxy. The location service calls Changed after every change; it does not block and costs nothing
// where nobody subscribed.
//
// A subscription has an owner (transaction.Owner) on which all that happens to it runs: SUBSCRIBE, changes, answers, timers. It has one NOTIFY under way at most,
// and at most one in five seconds; what changes meanwhile goes into the next one, each contact once. Before a NOTIFY leaves, its sequence number and
// version are on disk: neither is used twice, whenever the server dies.
//
// What bounds it stands in limits.go.
package regevent
