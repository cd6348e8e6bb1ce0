package main

import (
	"regexp"
	"strconv"
	"strings"
)

// reader walks through a file behind the letters "RFC". A reference may go on in the next line of a comment.
type reader struct {
	text string
	pos  int
}

// item is one element of a list of sections: one section (from = to), a range, or steps of one section.
type item struct {
	from, to string
	steps    []int
}

var (
	gapForm     = regexp.MustCompile(`^(?:[ \t]+|[ \t]*\r?\n[ \t]*(?://|#|\*)?[ \t]*)`)
	sectionForm = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)*|[A-Z](?:\.[0-9]+)+|[A-Z]\b)`)
	loneLetter  = regexp.MustCompile(`^[A-Z][ \t]+[a-z]`)
	stepForm    = regexp.MustCompile(`^(steps?)[ \t\n]`)
	malformed   = regexp.MustCompile(`^[ \t]+(?:[Ss]ections?\b|§|[0-9]+\.[0-9]|[0-9]+ step)|^(?:,? ?§|, [Ss]ections? [0-9])`)
	notDoneForm = regexp.MustCompile(`^: not done, ([^\n"` + "`" + `]+)`)
)

// gap consumes white space, over the end of one line with the next line's comment marker.
func (p *reader) gap() bool { return p.take(gapForm) != "" }

func (p *reader) digits() string {
	end := p.pos
	for end < len(p.text) && p.text[end] >= '0' && p.text[end] <= '9' {
		end++
	}
	d := p.text[p.pos:end]
	if len(d) > 5 || end < len(p.text) && isWord(p.text[end]) {
		return ""
	}
	p.pos = end
	return d
}

func (p *reader) take(form *regexp.Regexp) string {
	m := form.FindString(p.text[p.pos:])
	p.pos += len(m)
	return m
}

// word consumes w if it stands here.
func (p *reader) word(w string) bool {
	if !strings.HasPrefix(p.text[p.pos:], w) {
		return false
	}
	p.pos += len(w)
	return true
}

// try undoes what fn consumed if it fails.
func (p *reader) try(fn func() bool) bool {
	back := p.pos
	if fn() {
		return true
	}
	p.pos = back
	return false
}

// list reads ", 16.3 step 4, 16.4-16.6 and 17.1".
func (p *reader) list() (items []item) {
	for {
		var it item
		if !p.try(func() bool { return p.separator(len(items) == 0) && p.item(&it) }) {
			return items
		}
		items = append(items, it)
	}
}

// separator consumes what stands before an item: a comma before the first, a comma or a word before the others.
func (p *reader) separator(first bool) bool {
	comma := p.word(",")
	if !p.gap() || first && !comma {
		return false
	}
	for _, w := range []string{"and", "or"} {
		if !first && p.try(func() bool { return p.word(w) && p.gap() }) {
			return true
		}
	}
	return comma
}

func (p *reader) item(it *item) bool {
	if it.from = p.section(); it.from == "" {
		return false
	}
	it.to = it.from
	if p.try(func() bool {
		return (p.word("-") || p.word("–") || p.gap() && p.word("to") && p.gap()) && p.sectionTo(it)
	}) {
		return true
	}
	p.try(func() bool { return p.gap() && p.steps(it) })
	return true
}

func (p *reader) sectionTo(it *item) bool {
	it.to = p.section()
	if it.to == "" {
		it.to = it.from
		return false
	}
	return true
}

func (p *reader) section() string {
	if loneLetter.MatchString(p.text[p.pos:]) { // the article, not an appendix
		return ""
	}
	s := ""
	p.try(func() bool {
		s = p.take(sectionForm)
		return s != "" && (p.pos == len(p.text) || !isWord(p.text[p.pos]))
	})
	if s != "" && p.pos < len(p.text) && isWord(p.text[p.pos]) {
		return "" // "3xx"
	}
	return s
}

// steps reads "step 8", "step 8-10" or "steps 1, 2 and 5"; after "step" only one number or range, so that a section may follow.
func (p *reader) steps(it *item) bool {
	m := stepForm.FindStringSubmatch(p.text[p.pos:])
	if m == nil {
		return false
	}
	p.pos += len(m[1])
	p.gap()
	for p.number(it) {
		if m[1] == "step" || !p.try(func() bool { return p.separator(false) && p.plainNumber() }) {
			return true
		}
	}
	return len(it.steps) > 0
}

// number reads N or N-M.
func (p *reader) number(it *item) bool {
	from, err := strconv.Atoi(p.digits())
	if err != nil {
		return false
	}
	to := from
	p.try(func() bool {
		if !p.word("-") && !p.word("–") {
			return false
		}
		n, err := strconv.Atoi(p.digits())
		if err == nil && n < 1000 {
			to = n
		}
		return err == nil
	})
	for n := from; n <= to; n++ {
		it.steps = append(it.steps, n)
	}
	return true
}

// plainNumber looks ahead for a number that is no section: nothing is consumed.
func (p *reader) plainNumber() bool {
	s := sectionForm.FindString(p.text[p.pos:])
	_, err := strconv.Atoi(s)
	return err == nil
}

// malformed tells whether what follows was meant as a section.
func (p *reader) malformed() bool { return malformed.MatchString(p.text[p.pos:]) }

// notDone reads ": not done, WHY".
func (p *reader) notDone() string {
	m := notDoneForm.FindStringSubmatch(p.text[p.pos:])
	if m == nil {
		return ""
	}
	return strings.TrimSpace(m[1])
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
