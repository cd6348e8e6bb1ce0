package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	heading  = regexp.MustCompile(`^(?:Appendix )?([0-9]+(?:\.[0-9]+)*|[A-Z](?:\.[0-9]+)*)[.:]?\s+(\S.*)$`)
	stepLine = regexp.MustCompile(`^ +([0-9]+)[.)] `)
	leaders  = regexp.MustCompile(`\.{3,}|(\. ){3,}`) // of a table of contents
)

// extract finds the section headings in a standard's text, and in each section the highest number of a list that counts from 1. Headings stand at
// the left edge and their numbers follow each other; this tells them from numbered lists and from what only looks like one.
func extract(text []byte) []section {
	var list []section
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimRight(line, " \r\f")
		if m := heading.FindStringSubmatch(line); m != nil && !leaders.MatchString(line) && follows(list, m[1], strings.HasPrefix(line, "Appendix ")) {
			list = append(list, section{Number: m[1], Title: m[2]})
			continue
		}
		if len(list) == 0 {
			continue
		}
		s := &list[len(list)-1]
		if m := stepLine.FindStringSubmatch(line); m != nil && m[1] == strconv.Itoa(s.Steps+1) {
			s.Steps++
		}
	}
	if len(list) == 0 {
		return []section{{Number: "-", Title: "the whole text, its sections have no numbers"}}
	}
	return list
}

// follows tells whether a section of that number may come next: the first below the last one, or the next beside it or beside one above it.
func follows(list []section, number string, appendix bool) bool {
	if len(list) == 0 {
		return number == "1"
	}
	last := strings.Split(list[len(list)-1].Number, ".")
	if number == strings.Join(append(last[:len(last):len(last)], "1"), ".") {
		return true
	}
	for i := len(last) - 1; i >= 0; i-- {
		if number == strings.Join(append(last[:i:i], next(last[i])), ".") {
			return true
		}
	}
	return number == "A" && (appendix || len(last) > 0 && last[0] >= "0" && last[0] <= "9")
}

// next is the number or letter after this one.
func next(s string) string {
	if n, err := strconv.Atoi(s); err == nil {
		return strconv.Itoa(n + 1)
	}
	return string(rune(s[0] + 1))
}

// formatTOC writes one line a section: number, steps, title.
func formatTOC(list []section) []byte {
	var b bytes.Buffer
	for _, s := range list {
		steps := "-"
		if s.Steps > 0 {
			steps = strconv.Itoa(s.Steps)
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\n", s.Number, steps, s.Title)
	}
	return b.Bytes()
}

func parseTOC(text []byte) (list []section, err error) {
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("line %d: want NUMBER, STEPS, TITLE with tabs", i+1)
		}
		s := section{Number: f[0], Title: f[2]}
		if f[1] != "-" {
			if s.Steps, err = strconv.Atoi(f[1]); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		}
		list = append(list, s)
	}
	return list, nil
}
