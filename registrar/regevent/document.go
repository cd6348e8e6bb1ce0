package regevent

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"signalbox/internal/wire"
	"signalbox/location"
)

// document is a registration information document (RFC 3680, 5) about one address.
type document struct {
	aor     wire.AOR
	version uint32
	full    bool
	state   string // of the registration
	gruus   func(aor wire.AOR, b *location.Binding) GRUU

	retryAfter func(aor wire.AOR, b *location.Binding) time.Duration
	now        time.Time
}

// write returns the document with as many of the contacts as fit into limit bytes, at least one, and how many those are. Where not all fit with everything
// known about them, what the schema calls optional is left out first.
func (d *document) write(contacts []change, limit int) (text []byte, n int) {
	for _, brief := range [...]bool{false, true} {
		text, n = d.fill(contacts, limit, brief)
		if n == len(contacts) {
			break
		}
	}
	return text, n
}

const documentEnd = "</registration>\r\n</reginfo>\r\n"

func (d *document) fill(contacts []change, limit int, brief bool) (text []byte, n int) {
	b := d.begin()
	for n < len(contacts) {
		before := len(b)
		b = d.contact(b, &contacts[n], brief)
		if len(b)+len(documentEnd) > limit && n > 0 {
			b = b[:before]
			break
		}
		n++
	}
	return append(b, documentEnd...), n
}

// begin writes what stands before the contacts. RFC 3680, 5.1
func (d *document) begin() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\r\n"+`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo"`...)
	if d.gruus != nil {
		b = append(b, ` xmlns:gr="urn:ietf:params:xml:ns:gruuinfo"`...) // RFC 5628, 5
	}
	b = append(b, ` version="`...)
	b = strconv.AppendUint(b, uint64(d.version), 10)
	if d.full {
		b = append(b, `" state="full">`+"\r\n"...)
	} else {
		b = append(b, `" state="partial">`+"\r\n"...)
	}
	b = attribute(append(b, "<registration"...), "aor", d.aor.String())
	b = attribute(b, "id", "r") // a subscription tells of one address only
	b = attribute(b, "state", d.state)
	return append(b, ">\r\n"...)
}

// contact writes one contact element. RFC 3680, 5.1
func (d *document) contact(b []byte, c *change, brief bool) []byte {
	state := "active"
	if c.gone {
		state = "terminated"
	}
	b = attribute(append(b, "<contact"...), "id", c.id)
	b = attribute(b, "state", state)
	b = attribute(b, "event", c.event)
	if !brief {
		b = number(b, "duration-registered", d.now.Sub(c.binding.Created))
	}
	if !c.gone {
		b = number(b, "expires", c.binding.Expires.Sub(d.now))
	}
	if c.event == "probation" {
		b = number(b, "retry-after", d.retryAfter(d.aor, c.binding))
	}
	if q := c.binding.Q; q < 1000 {
		b = attribute(b, "q", "0."+strconv.Itoa(1000 + q)[1:])
	}
	if !brief {
		b = attribute(b, "callid", c.binding.CallID)
		b = attribute(b, "cseq", strconv.FormatUint(uint64(c.binding.CSeq), 10))
	}
	b = append(b, "><uri>"...)
	b = escape(b, c.binding.Contact.Raw)
	b = append(b, "</uri>"...)
	if !brief {
		b = params(b, c.binding.Params)
	}
	if !c.gone {
		b = d.gruu(b, c.binding, brief)
	}
	return append(b, "</contact>\r\n"...)
}

// gruu writes the addresses that lead to this contact; the temporary one may be left out. RFC 5628, 5
func (d *document) gruu(b []byte, binding *location.Binding, brief bool) []byte {
	if d.gruus == nil || binding.InstanceID == "" {
		return b
	}
	g := d.gruus(d.aor, binding)
	if g.Public != "" {
		b = append(attribute(append(b, "<gr:pub-gruu"...), "uri", g.Public), "/>"...)
	}
	if g.Temporary != "" && !brief {
		b = attribute(append(b, "<gr:temp-gruu"...), "uri", g.Temporary)
		b = append(attribute(b, "first-cseq", strconv.FormatUint(uint64(g.FirstCSeq), 10)), "/>"...)
	}
	return b
}

// params writes the contact's parameters, which are all unknown to RFC 3261 where the binding keeps them. Values stand as they came, in quotes if
// they had some. RFC 3680, 5.1
func params(b []byte, list string) []byte {
	for list != "" {
		var one string
		one, list = wire.SplitParam(list)
		name, value, _ := strings.Cut(one[1:], "=")
		b = attribute(append(b, "<unknown-param"...), "name", strings.TrimSpace(name))
		b = append(b, '>')
		b = escape(b, strings.TrimSpace(value))
		b = append(b, "</unknown-param>"...)
	}
	return b
}

func attribute(b []byte, name, value string) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	return append(escape(b, value), '"')
}

// number writes whole seconds, which are never negative.
func number(b []byte, name string, d time.Duration) []byte {
	return attribute(b, name, strconv.FormatInt(int64(max(0, d.Round(time.Second)/time.Second)), 10))
}

// escape writes text so that the document is well-formed whatever a phone registered: marks as entities, and what XML 1.0 cannot hold as U+FFFD. hardening 18
func escape(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r < ' ' || r == 0xFFFE || r == 0xFFFF:
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
