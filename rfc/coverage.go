package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// frame matches the titles of what surrounds a standard: nobody implements it, so it is no gap.
var frame = regexp.MustCompile(`^(?:Introduction|Overview|Terminology|Key Words|Conventions|Definitions|IANA |IAB |Acknowledge?ments|Contributors|` +
	`Normative |Informative |References|Authors' Addresses|Full Copyright|Intellectual Property)`)

// row collects what is known of one section, or one step of it.
type row struct {
	code, tests, gaps []string
}

// where is a section (step 0) or a step.
type where struct {
	section string
	step    int
}

// coverage writes COVERAGE.md.
func coverage(index []*standard, refs []reference) []byte {
	rows := make(map[*standard]map[where]*row)
	for _, r := range refs {
		if r.std.Status == cited || r.kind == tool {
			continue
		}
		if rows[r.std] == nil {
			rows[r.std] = make(map[where]*row)
		}
		at := where{r.section, r.step}
		if rows[r.std][at] == nil {
			rows[r.std][at] = new(row)
		}
		to := rows[r.std][at]
		switch r.kind {
		case code:
			to.code = append(to.code, r.file)
		case tested:
			to.tests = append(to.tests, r.file)
		case gap:
			to.gaps = append(to.gaps, "not done, "+r.reason)
		}
	}
	var b bytes.Buffer
	b.WriteString("# What is implemented, section by section\n\n" +
		"Written by `go run ./rfc` from the references in code and tests; do not edit. An empty cell is a claim without proof, or a proof without a claim.\n\n" +
		"| RFC | Title | Claimed | Sections with code | with tests | left out |\n|---|---|---|--:|--:|--:|\n")
	for _, std := range index {
		if std.Status == cited {
			continue
		}
		fmt.Fprintf(&b, "| [%s](#rfc-%s) | %s | %s | %d | %d | %d |\n", std.Number, std.Number, std.Title, std.Status,
			count(rows[std], func(r *row) bool { return len(r.code) > 0 }), count(rows[std], func(r *row) bool { return len(r.tests) > 0 }), len(std.Out))
	}
	for _, std := range index {
		if std.Status != cited {
			writeStandard(&b, std, rows[std])
		}
	}
	return b.Bytes()
}

// count counts sections, not steps.
func count(rows map[where]*row, has func(*row) bool) int {
	sections := make(map[string]bool)
	for at, r := range rows {
		if has(r) {
			sections[at.section] = true
		}
	}
	return len(sections)
}

func writeStandard(b *bytes.Buffer, std *standard, rows map[where]*row) {
	fmt.Fprintf(b, "\n## RFC %s\n\n%s (%s)\n\n| Section | Title | Code | Tests |\n|---|---|---|---|\n", std.Number, std.Title, std.Status)
	for _, s := range std.Sections {
		steps := slices.DeleteFunc(stepsOf(s), func(n int) bool { return rows[where{s.Number, n}] == nil })
		own, reason := rows[where{s.Number, 0}], std.reason(s.Number)
		declared := slices.ContainsFunc(std.Out, func(o leftOut) bool { return o.Section == s.Number })
		switch {
		case own == nil && len(steps) == 0 && declared:
			fmt.Fprintf(b, "| %s | %s | left out: %s | |\n", s.Number, s.Title, reason)
			continue
		case own == nil && len(steps) == 0 && (reason != "" || std.Status == part || std.hasChildren(s.Number) || std.framed(s)):
			continue
		case own == nil:
			own = new(row)
		}
		written := cell(own.code, own.gaps)
		switch {
		case std.Status == tests:
			written = "-" // there is nothing to implement
		case written == "" && reason != "":
			written = "left out" // a test may speak of it all the same
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.Number, s.Title, written, cell(own.tests, nil))
		for _, n := range steps {
			r := rows[where{s.Number, n}]
			fmt.Fprintf(b, "| %s step %d | | %s | %s |\n", s.Number, n, cell(r.code, r.gaps), cell(r.tests, nil))
		}
	}
}

// framed tells whether the section, or one above it, has such a title.
func (std *standard) framed(s section) bool {
	for _, above := range std.Sections {
		if (above.Number == s.Number || strings.HasPrefix(s.Number, above.Number+".")) && frame.MatchString(above.Title) {
			return true
		}
	}
	return false
}

func stepsOf(s section) (list []int) {
	for n := range s.Steps {
		list = append(list, n+1)
	}
	return list
}

// cell lists files, each once, and gaps.
func cell(files, gaps []string) string {
	slices.Sort(files)
	list := append(slices.Compact(files), slices.Compact(gaps)...)
	return strings.ReplaceAll(strings.Join(list, ", "), "|", "\\|")
}
