// Package resolve turns a URI into next hops in order of trial (RFC 3263) ...
package resolve

import "signalbox/internal/wire"

type Resolver struct{}

// Resolve calls done exactly once: before it returns when the answer is known (numeric host, cache), later otherwise. Calls for the same name are answered in the order they were made.
// Errors are *wire.Error (e.g. 502/503/480-style per RFC 3263/3261, log side says which query failed).
func (r *Resolver) Resolve(u wire.URI, done func(hops []wire.Hop, err error)) {}

// Failed says that a hop timed out, refused or answered 503: it is tried last for a while.
func (r *Resolver) Failed(h wire.Hop) {}
