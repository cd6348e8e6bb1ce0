package wire

import "errors"

var errVia = errors.New("not a via-parm")

// Via is one via-parm (RFC 3261, 20.42, with RFC 3581's rport).
type Via struct {
	Raw       string
	Transport string // upper case: UDP TCP TLS WS WSS ...
	Host      string // sent-by host, lower case, no brackets
	Port      int    // 0 when absent
	Params    string // raw with the leading ';'
	Branch    string
	Received  string // without brackets, which some write around an IPv6 address (RFC 5118, 4.5)
	RPort     int    // value, 0 when absent or empty
	HasRPort  bool   // the parameter is there, with or without a value
	HasMaddr  bool   // so is maddr: Param reads it
}

// ParseVia reads one via-parm.
func ParseVia(s string) (Via, error) {
	var v Via
	if err := v.parse(s); err != nil {
		return Via{}, err
	}
	return v, nil
}

func (v *Via) parse(s string) (err error) {
	s = trim(s)
	v.Raw = s
	rest, ok := v.readProtocol(s)
	if !ok {
		return errVia
	}
	if v.Host, rest, err = cutHost(rest); err != nil {
		return err
	}
	// The grammar allows white space around this colon (COLON in RFC 3261, 25.1).
	if rest = skipSpace(rest); rest != "" && rest[0] == ':' {
		digits := skipSpace(rest[1:])
		n := span(digits, isDigit)
		if v.Port, ok = smallNumber(digits[:n], 65535); !ok || v.Port == 0 {
			return errPort
		}
		rest = skipSpace(digits[n:])
	}
	v.Params = rest
	return v.readParams()
}

// readProtocol reads sent-protocol: name, version and transport, with white space around the slashes.
func (v *Via) readProtocol(s string) (rest string, ok bool) {
	if len(s) > 11 && s[:8] == "SIP/2.0/" { // as nearly everybody writes it
		s = s[8:]
	} else {
		for range 2 { // protocol-name, protocol-version
			n := span(s, isToken)
			rest := skipSpace(s[n:])
			if n == 0 || rest == "" || rest[0] != '/' {
				return "", false
			}
			s = skipSpace(rest[1:])
		}
	}
	n := span(s, isToken)
	if n == 0 || n == len(s) || !isSpace(s[n]) {
		return "", false
	}
	v.Transport = upper(s[:n])
	return skipSpace(s[n:]), true
}

// readParams checks the parameters and reads those that route responses. Standing twice they would route them to two places.
func (v *Via) readParams() error {
	var branch, received bool
	for rest, n := v.Params, 0; rest != ""; n++ {
		name, value, tail, good := CutParam(rest)
		if !good || n == MaxParams {
			return errParams
		}
		switch {
		case len(name) == 6 && fold(name, "branch"):
			if branch || value == "" {
				return errParams
			}
			v.Branch, branch = value, true
		case len(name) == 5 && fold(name, "rport"):
			// RFC 3581, 3: a client sends it without a value.
			port, ok := smallNumber(value, 65535)
			if v.HasRPort || value != "" && !ok {
				return errParams
			}
			v.RPort, v.HasRPort = port, true
		case len(name) == 5 && fold(name, "maddr"):
			v.HasMaddr = true
		case len(name) == 8 && fold(name, "received"):
			if received {
				return errTwice
			}
			if n := len(value); n > 2 && value[0] == '[' && value[n-1] == ']' {
				value = value[1 : n-1]
			}
			v.Received, received = value, true
		}
		rest = tail
	}
	return nil
}

// Param returns a parameter (name in lower case).
func (v Via) Param(name string) (value string, ok bool) { return Param(v.Params, name) }

// smallNumber reads 1*DIGIT up to a limit; leading zeros are legal.
func smallNumber(s string, limit int) (n int, ok bool) {
	for i := range len(s) {
		if classes[s[i]]&isDigit == 0 {
			return 0, false
		}
		if n = n*10 + int(s[i]-'0'); n > limit {
			return 0, false
		}
	}
	return n, s != ""
}
