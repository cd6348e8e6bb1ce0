// Package console is how people look into a running server and change it: the JSON API on the control socket, and the client that the command
// line uses. The program (cmd/signalbox) serves Handler on a Unix socket that only the owner of the data directory can open, so there is no login;
// SIP never reaches it. Requests are bounded by limits.go; passwords do not pass here, only HA1 values (RFC 7616, 3.4.2).
package console
