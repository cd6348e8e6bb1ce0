package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// static are the payload types that need no rtpmap. RFC 3551, 6
func static(pt uint8) (Codec, bool) {
	names := map[uint8]string{0: "PCMU", 3: "GSM", 4: "G723", 8: "PCMA", 9: "G722", 13: "CN", 18: "G729"}
	if name, ok := names[pt]; ok {
		return Codec{PT: pt, Name: name, Clock: 8000, Channels: 1}, true
	}
	return Codec{}, false
}

// Event tells whether the format carries keys (DTMF). RFC 4733
func (c *Codec) Event() bool { return strings.EqualFold(c.Name, "telephone-event") }

// helper: the format repairs, repeats or fills in for others. Each leg has its own ways for that, so the bridge passes none of them on.
func (c *Codec) helper() bool {
	switch strings.ToLower(c.Name) {
	case "red", "ulpfec", "flexfec-03", "flexfec", "rtx", "cn":
		return true
	}
	return false
}

// browserKnows are the formats that browsers can be offered: RFC 7874, 3 and RFC 7742, 5, and what all of them have besides.
func (c *Codec) browserKnows() bool {
	switch strings.ToLower(c.Name) {
	case "opus", "pcmu", "pcma", "g722", "telephone-event", "vp8", "vp9", "h264", "av1":
		return true
	}
	return false
}

// Same tells whether two descriptions mean one format, so that packets of one can be sent as the other.
func (c *Codec) Same(o *Codec) bool {
	if !strings.EqualFold(c.Name, o.Name) || c.Clock != o.Clock || c.Channels != o.Channels {
		return false
	}
	if strings.EqualFold(c.Name, "H264") {
		// RFC 6184: profile and packetization mode are symmetric, the level is not.
		return c.h264Profile() == o.h264Profile() && c.param("packetization-mode", "0") == o.param("packetization-mode", "0")
	}
	return true
}

// h264Profile is profile_idc; absent is Baseline. RFC 6184
func (c *Codec) h264Profile() string {
	id := strings.ToLower(c.param("profile-level-id", "42000a"))
	return id[:min(2, len(id))]
}

// param is one parameter of fmtp.
func (c *Codec) param(name, missing string) string {
	for p := range strings.SplitSeq(c.Fmtp, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, name) {
			return v
		}
	}
	return missing
}

// Carried are the formats of an offer that the bridge can take to the other side, in their order: no helpers, and to a browser only what it knows. A medium
// with nothing left but events has nothing left. Feedback is each leg's own.
func Carried(offer []Codec, toBrowser bool) []Codec {
	var list []Codec
	sound := false
	for _, c := range offer {
		if c.helper() || toBrowser && !c.browserKnows() {
			continue
		}
		c.Feedback = nil
		list = append(list, c)
		sound = sound || !c.Event()
	}
	if !sound {
		return nil
	}
	return list
}

// Pair is one format as each side numbers it.
type Pair struct {
	Offered, Answered Codec
	Sent              uint8 // its number in the offer as it was sent, which is the one of Offered, unless the bridge had to choose another
}

// Common finds what an answer took of an offer, in the answer's order, which says what its author likes best (RFC 3264, 6.1). Keys stay only if a
// format of their clock was taken, since one stream has one clock (RFC 4733, 2.1).
func Common(offer, answer []Codec) []Pair {
	var pairs []Pair
	for _, a := range answer {
		i := slices.IndexFunc(offer, func(o Codec) bool { return o.Same(&a) && o.PT == a.PT })
		if i < 0 {
			i = slices.IndexFunc(offer, func(o Codec) bool { return o.Same(&a) })
		}
		if i >= 0 {
			pairs = append(pairs, Pair{Offered: offer[i], Answered: a, Sent: offer[i].PT})
		}
	}
	clocked := func(clock int) bool {
		return slices.ContainsFunc(pairs, func(p Pair) bool { return !p.Offered.Event() && p.Offered.Clock == clock })
	}
	var kept []Pair
	for _, p := range pairs {
		switch {
		case !p.Offered.Event() || clocked(p.Offered.Clock):
			kept = append(kept, p)
		default:
			// Phones that know keys at 8000 Hz only send them in streams of 48000 Hz all the same. The offerer gets its own kind.
			i := slices.IndexFunc(offer, func(o Codec) bool { return o.Event() && clocked(o.Clock) })
			if i >= 0 && !slices.ContainsFunc(pairs, func(q Pair) bool { return q.Offered.PT == offer[i].PT }) {
				kept = append(kept, Pair{Offered: offer[i], Answered: p.Answered, Sent: offer[i].PT})
			}
		}
	}
	return kept
}

// KeyframeFeedback are the requests for a new picture that a leg of ours understands and makes. RFC 4585, 6.3.1; RFC 5104, 4.3.1
func KeyframeFeedback() []string { return []string{"nack pli", "ccm fir"} }

// Asks tells whether the peer takes that feedback for any of its formats.
func (m *Media) Asks(feedback string) bool {
	return slices.ContainsFunc(m.Codecs, func(c Codec) bool { return slices.Contains(c.Feedback, feedback) })
}

func (c *Codec) rtpmap() string {
	s := c.Name + "/" + strconv.Itoa(c.Clock)
	if c.Channels > 1 {
		s += "/" + strconv.Itoa(c.Channels)
	}
	return s
}
