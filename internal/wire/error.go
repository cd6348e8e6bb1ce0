package wire

import (
	"fmt"
	"strconv"

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
	e.Headers = append(e.Headers, NewHeader(name, value))
	return e
}

// Error is for the log: "400 Bad CSeq: number too large".
func (e *Error) Error() string {
	s := strconv.Itoa(e.Code) + " " + e.Reason
	if e.Reason == "" {
		s += Phrase(e.Code)
	}
	if e.Err == nil {
		return s
	}
	return s + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }
