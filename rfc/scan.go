package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// kind says what a reference means.
type kind int

const (
	code   kind = iota // implemented
	tested             // proved
	tool               // neither: the test harness
	gap                // not done, with the reason
)

// reference is one section, or one step of it, that a file names.
type reference struct {
	std     *standard
	section string
	step    int // 0: the section
	kind    kind
	file    string
	reason  string // of a gap
}

// maxFile is the most bytes of a file that is scanned: sources are far smaller, recordings and corpora are not scanned at all.
const maxFile = 1 << 20

// scan finds every reference in the tree, and every one that is wrong.
func scan(tree fs.FS, index []*standard) (refs []reference, wrong []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (base[0] == '.' || base == "fuzz" || base == "node_modules" || name == "rfc") {
				return fs.SkipDir
			}
			return nil
		}
		k, ok := kindOf(name)
		if !ok {
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > maxFile || !info.Mode().IsRegular() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil || !bytes.Contains(text, []byte("RFC")) {
			return err
		}
		found, bad := scanFile(name, string(text), index)
		for i := range found {
			if found[i].kind != gap {
				found[i].kind = k
			}
		}
		refs, wrong = append(refs, found...), append(wrong, bad...)
		return nil
	})
	return refs, wrong, err
}

// kindOf says what a reference in a file of that name means; ok is false for a file that is not scanned.
func kindOf(name string) (k kind, ok bool) {
	ext := path.Ext(name)
	switch {
	case strings.HasPrefix(name, "internal/ladder/laddertest/"): // phones, not the server
		return tool, true
	case ext == ".ladder" || strings.HasSuffix(name, "_test.go"):
		return tested, true
	case strings.HasPrefix(name, "interop/") && ext != ".md":
		return tested, true
	case ext != ".go":
		return 0, false
	}
	return code, true
}

// scanFile finds the references of one file.
func scanFile(name, text string, index []*standard) (refs []reference, wrong []string) {
	p := &reader{text: text}
	for {
		start := strings.Index(p.text[p.pos:], "RFC")
		if start < 0 {
			return refs, wrong
		}
		start += p.pos
		p.pos = start + len("RFC")
		if start > 0 && isWord(p.text[start-1]) || !p.gap() {
			continue
		}
		number := p.digits()
		if number == "" {
			continue
		}
		complain := func(format string, args ...any) {
			line := 1 + strings.Count(text[:start], "\n")
			wrong = append(wrong, fmt.Sprintf("%s:%d: RFC %s%s", name, line, number, fmt.Sprintf(format, args...)))
		}
		std := find(index, number)
		items := p.list()
		switch {
		case len(items) == 0 && p.malformed():
			complain(": the form is \"RFC %s, SECTION step N\"", number)
			continue
		case len(items) == 0:
			if std != nil && std.section("-") != nil { // a text without numbered sections
				refs = append(refs, reference{std: std, section: "-", file: name})
			}
			continue
		case std == nil:
			complain(" is not in rfc/index.txt")
			continue
		case len(std.Sections) == 0:
			continue // cited, and its text is not at hand
		}
		reason := p.notDone()
		for _, it := range items {
			found, why := std.resolve(it)
			if why != "" {
				complain("%s", why)
			}
			for _, r := range found {
				r.file = name
				if reason != "" {
					r.kind, r.reason = gap, reason
				}
				refs = append(refs, r)
			}
		}
	}
}

// resolve finds what an item names, or says why it does not exist.
func (std *standard) resolve(it item) (refs []reference, why string) {
	first, last := -1, -1
	for i, s := range std.Sections {
		if s.Number == it.from {
			first = i
		}
		if s.Number == it.to {
			last = i
		}
	}
	switch {
	case first < 0:
		return nil, " has no section " + it.from
	case last < 0:
		return nil, " has no section " + it.to
	case last < first:
		return nil, fmt.Sprintf(": %s-%s goes backwards", it.from, it.to)
	case len(it.steps) == 0:
		for _, s := range std.Sections[first : last+1] {
			refs = append(refs, reference{std: std, section: s.Number})
		}
		return refs, ""
	case first != last:
		return nil, ": steps of a range of sections"
	}
	s := std.Sections[first]
	for _, n := range it.steps {
		if n < 1 || n > s.Steps {
			return nil, fmt.Sprintf(", %s has no step %d (it has %d)", s.Number, n, s.Steps)
		}
		refs = append(refs, reference{std: std, section: s.Number, step: n})
	}
	return refs, ""
}
