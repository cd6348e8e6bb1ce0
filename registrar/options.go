package registrar

import (
	"strings"

	"signalbox/internal/wire"
)

// options are the extensions a phone supports, and what of them stands in its request.
type options uint8

const (
	knowsPath options = 1 << iota
	knowsOutbound
	knowsGRUU
	hasPath
	hasRequire
	wantsSession
)

// supported are the option-tags that a REGISTER may require: RFC 3327, 5.3; RFC 5626, 6; RFC 5627, 5.1; RFC 3840, 6. Feature tags need nothing but to be kept.
var supported = []string{"path", "outbound", "gruu", "pref"}

// checkExtensions refuses what must be understood and is not (RFC 3261, 8.2.2.3).
func (g *registration) checkExtensions() error {
	g.survey()
	if g.options&hasRequire == 0 {
		return nil
	}
	var unknown []string
	for _, tag := range wire.List(g.req, "Require") {
		if !contains(supported, tag) {
			unknown = append(unknown, tag)
		}
	}
	if len(unknown) > 0 {
		tags := strings.Join(unknown, ", ")
		return wire.Errorf(420, "", "registrar: Require: %s", tags).With("Unsupported", tags)
	}
	return nil
}

// survey looks at every header field once.
func (g *registration) survey() {
	for _, h := range g.req.Headers() {
		name := h.Name()
		switch len(name) {
		case 1:
			switch name[0] | 0x20 {
			case 'k':
				g.noteSupported(h.Value())
			case 'v':
				g.vias += 1 + strings.Count(h.Value(), ",")
			}
		case 3:
			if strings.EqualFold(name, "Via") {
				g.vias += 1 + strings.Count(h.Value(), ",")
			}
		case 4:
			if strings.EqualFold(name, "Path") {
				g.options |= hasPath
			}
		case 7:
			if strings.EqualFold(name, "Require") {
				g.options |= hasRequire
			}
		case 9:
			if strings.EqualFold(name, "Supported") {
				g.noteSupported(h.Value())
			}
		}
	}
}

func (g *registration) noteSupported(value string) {
	for more := true; more; {
		var tag string
		tag, value, more = strings.Cut(value, ",")
		switch tag = strings.TrimSpace(tag); {
		case strings.EqualFold(tag, "path"):
			g.options |= knowsPath
		case strings.EqualFold(tag, "outbound"):
			g.options |= knowsOutbound
		case strings.EqualFold(tag, "gruu"):
			g.options |= knowsGRUU
		case strings.EqualFold(tag, "session-token"):
			g.options |= wantsSession
		}
	}
}

func contains(tags []string, tag string) bool {
	for _, t := range tags {
		if strings.EqualFold(t, tag) {
			return true
		}
	}
	return false
}
