package wire

import (
	"fmt"

	"github.com/emiago/sipgo/sip"
)

// Error has two faces: the peer sees Code, Reason and Headers, the log sees Err.
type Error struct {
	Code    int
	Reason  string       // "" means the standard phrase
	Headers []sip.Header // added to the response: WWW-Authenticate, Unsupported, Min-Expires, Retry-After ...
	Err     error
}

// Errorf makes an Error; format and args are for the log only.
func Errorf(code int, reason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// With adds a header to the answer.
func (e *Error) With(name, value string) *Error {
	e.Headers = append(e.Headers, sip.NewHeader(name, value))
	return e
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %v", e.Code, e.Reason, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
