package console

import "time"

const (
	// maxImport bounds the body of an import: a million accounts of 200 bytes.
	maxImport = 256 << 20
	// maxBody bounds every other body: one account.
	maxBody = 4 << 10
	// HeaderTimeout is how long a client of the socket may take to say what it wants.
	HeaderTimeout = 10 * time.Second
)
