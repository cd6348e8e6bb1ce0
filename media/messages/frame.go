package messages

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"signalbox/internal/wire"
)

// outgoing is a frame of the page: a message to somebody.
type outgoing struct {
	To   string `json:"to"`
	Text string `json:"text"`
	ID   string `json:"id"` // the page's own, to know the outcome by
}

// outcome is what became of a message, or, without an ID, of the session.
type outcome struct {
	ID     string `json:"id,omitempty"`
	Status int    `json:"status"`
	Reason string `json:"reason"`
}

// incoming is a message to the page.
type incoming struct {
	From string `json:"from"`
	Text string `json:"text"`
	Type string `json:"type,omitempty"` // if it is not text/plain
}

// welcome says that the page is registered.
type welcome struct {
	User string `json:"user"`
}

// readFrame reads a frame of the page. With an error the ID is the frame's, as far as it could be read.
func readFrame(b []byte) (f outgoing, to wire.URI, err *wire.Error) {
	if !utf8.Valid(b) {
		return f, to, wire.Errorf(400, "Not UTF-8", "messages: frame is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return outgoing{}, to, wire.Errorf(400, `Want {"to":"sip:...","text":"...","id":"..."}`, "messages: %w", err)
	}
	if d.More() {
		return outgoing{}, to, wire.Errorf(400, "One Message A Frame", "messages: more than one value")
	}
	if len(f.ID) > maxID {
		return outgoing{}, to, wire.Errorf(400, "ID Too Long", "messages: id of %d bytes", len(f.ID))
	}
	to, perr := wire.ParseURI(f.To)
	switch {
	case perr != nil || len(f.To) > maxURI:
		return f, to, wire.Errorf(400, "Bad URI", "messages: to %q", f.To)
	case !to.IsSIP():
		return f, to, wire.Errorf(416, "", "messages: to %q", f.To)
	case to.Headers != "":
		return f, to, wire.Errorf(400, "URI With Headers", "messages: to %q", f.To)
	case f.Text == "":
		return f, to, wire.Errorf(400, "No Text", "messages: no text")
	}
	return f, to, nil
}

// appendFrame writes a frame of ours. Angle brackets stay what they are: no HTML is made of it here.
func appendFrame(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // strings and numbers
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
