package regevent

import (
	"strconv"
	"strings"
	"time"

	"signalbox/internal/wire"
)

const (
	packageName = "reg"                     // RFC 3680, 4.1
	mediaType   = "application/reginfo+xml" // RFC 3680, 4.5
)

// readEvent reads the Event header field: the package must be reg, and there must be one only. It returns what NOTIFY says: the package, and the id if there is one.
// RFC 6665, 8.2.1
func readEvent(req *wire.Request) (string, error) {
	values := wire.List(req, "Event")
	if len(values) != 1 {
		return "", badEvent(wire.Get(req, "Event"))
	}
	name, params := cutEvent(values[0])
	if name != packageName { // compared byte by byte
		return "", badEvent(values[0])
	}
	id, ok := wire.Param(params, "id")
	switch {
	case !ok:
		return packageName, nil
	case !isToken(id) || len(id) > maxField:
		return "", wire.Errorf(400, "Bad Event", "regevent: Event %q", values[0])
	}
	return packageName + ";id=" + id, nil
}

// badEvent: it says what there is instead. Without Event the request would be one of PINT, which is not spoken here. RFC 6665, 8.3.2 and 4.2.3
func badEvent(value string) error {
	return wire.Errorf(489, "Bad Event", "regevent: Event %q", value).With("Allow-Events", packageName)
}

// cutEvent splits "reg;id=1" into the package and its parameters.
func cutEvent(value string) (name, params string) {
	if i := strings.IndexByte(value, ';'); i >= 0 {
		return strings.TrimSpace(value[:i]), value[i:]
	}
	return strings.TrimSpace(value), ""
}

func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-.!%*_+`'~", r)
	}) < 0
}

// accepts tells whether the subscriber reads what we write. RFC 3680, 4.5; RFC 3261, 20.1
func accepts(req *wire.Request) bool {
	if !wire.Has(req, "Accept") {
		return true
	}
	for _, value := range wire.List(req, "Accept") {
		media, params, _ := strings.Cut(value, ";")
		kind, sub, _ := strings.Cut(media, "/")
		media = strings.ToLower(strings.TrimSpace(kind) + "/" + strings.TrimSpace(sub))
		if media != mediaType && media != "application/*" && media != "*/*" {
			continue
		}
		if q, ok := wire.Param(";"+params, "q"); !ok || strings.Trim(q, "0.") != "" {
			return true
		}
	}
	return false
}

// readExpires determines how long the subscription lasts; 0 ends it. RFC 6665, 3.1.1 and 4.2.1.1
func readExpires(req *wire.Request) (time.Duration, error) {
	if !wire.Has(req, "Expires") {
		return DefaultExpires, nil
	}
	value := wire.Get(req, "Expires")
	if value == "" || value[0] < '0' || value[0] > '9' {
		return 0, wire.Errorf(400, "Bad Expires", "regevent: Expires %q", value)
	}
	seconds, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return 0, wire.Errorf(400, "Bad Expires", "regevent: Expires %q", value)
	}
	d := time.Duration(seconds) * time.Second
	if d > 0 && d < MinExpires {
		least := strconv.Itoa(int(MinExpires / time.Second))
		return 0, wire.Errorf(423, "", "regevent: %v asked for", d).With("Min-Expires", least)
	}
	return min(d, MaxExpires), nil // it may be shortened, never lengthened
}
