package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Status of a standard in index.txt.
const (
	whole = "whole" // claimed section by section: what has no reference is shown as missing
	part  = "part"  // what is referenced is implemented
	tests = "tests" // a standard that describes tests: nothing to implement, each section to be tested
	cited = "cited" // referred to, not claimed; its sections are checked if its table of contents is here
)

// standard is one RFC of the index.
type standard struct {
	Number   string
	Status   string
	Title    string
	Out      []leftOut
	Sections []section // in order; empty for a cited one without table of contents
}

// leftOut is a section, with all below it, that is not implemented on purpose.
type leftOut struct {
	Line    int
	Section string
	Reason  string
}

// section is one row of a table of contents.
type section struct {
	Number string
	Steps  int // highest number of its list of steps, 0 without one
	Title  string
}

// parseIndex reads lines of the form
//
//	3261 whole SIP: Session Initiation Protocol
//	     out 5, 6: reason
func parseIndex(path string) ([]*standard, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []*standard
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		fail := func(why string) error { return fmt.Errorf("%s:%d: %s: %q", path, i+1, why, line) }
		if words[0] == "out" {
			sections, reason, ok := strings.Cut(strings.TrimSpace(strings.TrimSpace(line)[len("out"):]), ": ")
			if !ok || len(list) == 0 {
				return nil, fail("want out SECTION, SECTION: REASON below a standard")
			}
			std := list[len(list)-1]
			for _, s := range strings.Split(sections, ",") {
				std.Out = append(std.Out, leftOut{Line: i + 1, Section: strings.TrimSpace(s), Reason: reason})
			}
			continue
		}
		if _, err := strconv.Atoi(words[0]); err != nil || len(words) < 3 {
			return nil, fail("want NUMBER STATUS TITLE")
		}
		if s := words[1]; s != whole && s != part && s != tests && s != cited {
			return nil, fail("status is whole, part, tests or cited")
		}
		list = append(list, &standard{Number: words[0], Status: words[1], Title: strings.Join(words[2:], " ")})
	}
	return list, nil
}

func find(list []*standard, number string) *standard {
	for _, std := range list {
		if std.Number == number {
			return std
		}
	}
	return nil
}

func (std *standard) section(number string) *section {
	for i := range std.Sections {
		if std.Sections[i].Number == number {
			return &std.Sections[i]
		}
	}
	return nil
}

// reason returns why a section is left out, "" if it is not: the section's own row, or that of a section above it.
func (std *standard) reason(number string) string {
	for _, o := range std.Out {
		if number == o.Section || strings.HasPrefix(number, o.Section+".") {
			return o.Reason
		}
	}
	return ""
}

// hasChildren tells whether there are sections below this one.
func (std *standard) hasChildren(number string) bool {
	for _, s := range std.Sections {
		if strings.HasPrefix(s.Number, number+".") {
			return true
		}
	}
	return false
}
