// Package database is the SQLite file: it opens, checks and migrates it, and keeps the accounts and secrets in it.
//
// Accounts are read from memory (RFC 3261, 22.3 lets a server look up the secret of each request), and only hashes of passwords are stored
// (RFC 7616, 3.4.2). A change is on disk before it is seen: write-ahead log, synchronous=FULL.
//
// cmd opens it; auth asks Users for hashes; location keeps its bindings in a table of it through SQL. One connection writes, so that writers
// in this process queue instead of failing; a writer in another process is waited for. What bounds it stands in limits.go.
package database
