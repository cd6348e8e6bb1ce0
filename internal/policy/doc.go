// Package policy decides who may register, log in, call and watch, and on what terms: pure functions of a policy file (TOML) and the facts
// of a request. It does no I/O, keeps no clock and never panics: what cannot be evaluated is denied.
//
// A file is a list of rules. A rule has conditions ("when"), all of which must hold, and settings. Rules are read from the top; for each setting
// the first rule that holds and has it counts, and so for allow and deny.
//
// cmd parses the file and hands the Policy to the registrar (Register), the login service (Register again, for logins without a REGISTER), the
// proxy (Call) and the registration events (Watch). What bounds a file stands in limits.go.
package policy
