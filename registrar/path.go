package registrar

import (
	"strings"

	"signalbox/internal/wire"
)

// readPath reads by which proxies the phone is reached. One that knows nothing of Path is told that somebody on the way has put one in (RFC 3327, 5.3
// recommends it). What stands in a Path is never believed further than to send it back to where the REGISTER came from: hardening 42.
func (g *registration) readPath() error {
	if g.options&hasPath == 0 {
		return nil
	}
	if g.options&knowsPath == 0 {
		return wire.Errorf(420, "", "registrar: Path without Supported: path").With("Unsupported", "path")
	}
	values := wire.List(g.req, "Path")
	if len(values) > maxPath {
		return wire.Errorf(400, "Path Too Long", "registrar: Path of %d values", len(values))
	}
	for _, value := range values {
		a, err := wire.ParseAddress(value)
		if _, lr := a.URI.Param("lr"); err != nil || len(value) > maxPathValue || !a.URI.IsSIP() || !lr || !strings.Contains(value, "<") {
			return wire.Errorf(400, "Bad Path", "registrar: Path %q: %v", value[:min(len(value), maxPathValue)], err) // RFC 3327, 4
		}
	}
	g.path = values
	return nil
}

// answerPath tells the phone by which proxies it is reached (RFC 3327, 5.3), and by which way it reaches us: those proxies may be in front of others
// (RFC 3608, 6.3). A phone that came to us directly needs no way. Whoever only asks gets the same answer.
func (g *registration) answerPath(res *wire.Response) {
	for _, value := range g.path {
		wire.Add(res, "Path", value)
	}
	if g.vias > 1 {
		wire.Add(res, "Service-Route", "<"+g.req.URI.Scheme+":"+g.domain+";lr>")
	}
}
