package proxy

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"signalbox/internal/wire"
)

// A feature set is a conjunction of terms, each a feature tag with the values it may have: what a Contact can do, or a caller asks for (RFC 3840, 5;
// RFC 3841, 8).
type featureSet []feature

type feature struct {
	name   string // decoded, in lower case: "sip.audio"
	values []featureValue
}

// featureValue is one of those values, or every other one than that.
type featureValue struct {
	not    bool
	kind   valueKind
	text   string  // of a token, in lower case, or of a string
	lo, hi float64 // of a number, or a range of them
}

type valueKind uint8

const (
	aToken valueKind = iota // compared without case
	aString
	aNumber
)

var errFeatures = errors.New("proxy: too many features")

// baseTags are the feature tags that stand without a plus (RFC 3841, 7.2.1).
var baseTags = []string{
	"audio", "automata", "class", "duplex", "data", "control", "mobility", "description", "events", "priority", "methods", "extensions", "schemes",
	"application", "video", "language", "type", "isfocus", "actor", "text",
}

// parseFeatures reads the feature parameters of a Contact, Accept-Contact or Reject-Contact, with so many values at most; other gets the names of the other
// parameters.
func parseFeatures(params string, limit int, other func(name string)) (set featureSet, err error) {
	for params != "" {
		name, value, rest, good := wire.CutParam(params)
		if !good {
			return nil, errors.New("proxy: not a parameter: " + strconv.Quote(params[:min(len(params), 40)]))
		}
		params = rest
		tag, ok := featureTag(name)
		if !ok {
			if other != nil {
				other(strings.ToLower(name))
			}
			continue
		}
		if slices.ContainsFunc(set, func(f feature) bool { return f.name == tag }) {
			continue // the plus form of a base tag: RFC 3841, 7.2.3 step 3
		}
		f := feature{name: tag, values: parseValues(value)}
		if limit -= len(f.values); limit < 0 {
			return nil, errFeatures
		}
		set = append(set, f)
	}
	return set, nil
}

// featureTag decodes the name of a parameter, if it is one of a feature (RFC 3841, 8). What stands for colons and slashes may stay: it is compared only.
func featureTag(name string) (tag string, ok bool) {
	name = strings.ToLower(name)
	if tag, ok = strings.CutPrefix(name, "+"); ok {
		return tag, true
	}
	if !slices.Contains(baseTags, name) {
		return "", false
	}
	if name == "language" || name == "type" {
		return name, true
	}
	return "sip." + name, true
}

// parseValues reads the value of a feature parameter: a list, a string in angle brackets, or nothing, which is TRUE (RFC 3840, 9; RFC 3841, 8).
func parseValues(raw string) (list []featureValue) {
	if raw == "" {
		return []featureValue{{text: "true"}}
	}
	s := wire.Unquote(raw)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) >= 2 {
		return []featureValue{{kind: aString, text: s[1 : len(s)-1]}}
	}
	for part := range strings.SplitSeq(s, ",") {
		list = append(list, parseValue(strings.TrimSpace(part)))
	}
	return list
}

func parseValue(s string) (v featureValue) {
	if rest, ok := strings.CutPrefix(s, "!"); ok {
		v.not, s = true, rest
	}
	if rest, ok := strings.CutPrefix(s, "#"); ok && v.parseNumber(rest) {
		return v
	}
	v.text = strings.ToLower(s)
	return v
}

// parseNumber reads "=1", ">=1", "<=1" or "1:2".
func (v *featureValue) parseNumber(s string) bool {
	const infinity = 1e300
	number := func(s string) (x float64, ok bool) {
		x, err := strconv.ParseFloat(s, 64)
		return x, err == nil && -infinity < x && x < infinity
	}
	lo, hi := s, s
	switch {
	case strings.HasPrefix(s, "="):
		lo, hi = s[1:], s[1:]
	case strings.HasPrefix(s, ">="):
		lo, hi = s[2:], ""
	case strings.HasPrefix(s, "<="):
		lo, hi = "", s[2:]
	default:
		var found bool
		if lo, hi, found = strings.Cut(s, ":"); !found {
			return false
		}
	}
	least, okLo := -infinity, true
	most, okHi := infinity, true
	if lo != "" {
		least, okLo = number(lo)
	}
	if hi != "" {
		most, okHi = number(hi)
	}
	if lo == "" && hi == "" || !okLo || !okHi {
		return false
	}
	v.kind, v.lo, v.hi = aNumber, least, most
	return true
}

// find returns the term of that tag, nil if there is none.
func (s featureSet) find(name string) *feature {
	for i := range s {
		if s[i].name == name {
			return &s[i]
		}
	}
	return nil
}

// matches: some set of values fits both. A tag that stands in only one of them says nothing (RFC 3841, 7.2.4).
func (s featureSet) matches(other featureSet) bool {
	for i := range s {
		if f := other.find(s[i].name); f != nil && !s[i].meets(f) {
			return false
		}
	}
	return true
}

// known counts the terms whose tag stands in the other set too.
func (s featureSet) known(other featureSet) (n int) {
	for i := range s {
		if other.find(s[i].name) != nil {
			n++
		}
	}
	return n
}

func (f *feature) meets(other *feature) bool {
	for _, a := range f.values {
		for _, b := range other.values {
			if a.meets(b) {
				return true
			}
		}
	}
	return false
}

func (v featureValue) meets(o featureValue) bool {
	switch {
	case v.not && o.not:
		return true // anything else than these two
	case v.not:
		return !o.within(v)
	case o.not:
		return !v.within(o)
	case v.kind != o.kind:
		return false
	case v.kind == aNumber:
		return v.lo <= o.hi && o.lo <= v.hi
	}
	return v.text == o.text
}

// within, whatever both say of not.
func (v featureValue) within(o featureValue) bool {
	if v.kind != o.kind {
		return false
	}
	if v.kind == aNumber {
		return o.lo <= v.lo && v.hi <= o.hi
	}
	return v.text == o.text
}
