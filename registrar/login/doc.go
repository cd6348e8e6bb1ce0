// Package login keeps who is logged in on which device (RFC 3261, 10.2; RFC 3680, 4.7.1 for the words). There are three doors: the user's own REGISTER on the
// device, the device's REGISTER in the user's name, and an administrator. Whichever it is, the result is a binding of the user with the
// device's name in it, and a record {user, device, start, end, method} in package database for devices that somebody added.
//
// The registrar asks Begin before it binds, cmd tells Bound of every change of bindings and Seen of calls and messages, package console calls Login and
// Logout. One goroutine, the clerk, does what waits for the disk or for a time: records, scheduled starts and ends, idle logins, the bindings of
// administrators' logins, and what a changed policy does to bindings that live. What bounds it stands in limits.go.
package login
