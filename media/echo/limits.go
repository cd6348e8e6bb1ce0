package echo

import "time"

const (
	// maxCalls at once: it is a service for trying things out, and each call takes two ports.
	maxCalls = 20

	// longestCall is long enough for any test of a microphone.
	longestCall = 10 * time.Minute
)
