package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// made is a small standard: five sections, one with steps.
func made() []*standard {
	toc := []section{{Number: "1", Title: "Introduction"}, {Number: "2", Title: "Rules"}, {"2.1", 3, "Steps"}, {Number: "2.2", Title: "More"}, {Number: "3", Title: "Old"}, {Number: "A", Title: "Appendix"}}
	return []*standard{
		{Number: "9901", Status: whole, Title: "Made", Sections: toc, Out: []leftOut{{Section: "3", Reason: "old"}}},
		{Number: "9902", Status: part, Title: "Plain", Sections: []section{{Number: "-", Title: "whole text"}}},
		{Number: "9903", Status: cited, Title: "Elsewhere"},
	}
}

func TestReferences(t *testing.T) {
	for _, tt := range []struct{ text, want, wrong string }{
		{"// RFC 9901, 2.1", "2.1", ""},
		{"// RFC 9901, 2.1 step 3: do it", "2.1/3", ""},
		{"// RFC 9901, 2.1 step 2, 2.2 and 3", "2.1/2 2.2 3", ""},
		{"// RFC 9901, 2.1 steps 1-3", "2.1/1 2.1/2 2.1/3", ""},
		{"// RFC 9901, 2.1 steps 1 and 3", "2.1/1 2.1/3", ""},
		{"// RFC 9901, 2.1 steps 1, 2 and 3", "2.1/1 2.1/2 2.1/3", ""},
		{"// RFC 9901, 2.1-2.2.", "2.1 2.2", ""},
		{"// RFC 9901, 2.1 to 2.2.", "2.1 2.2", ""},
		{"// RFC 9901, 2.1, 2.2, and 3", "2.1 2.2 3", ""},
		{"// (RFC 9901, 2.1; RFC 9901, 3).", "2.1 3", ""},
		{"// RFC 9901,\n\t// 2.1 step\n\t// 3", "2.1/3", ""},
		{"# RFC 9901, 2.1: why", "2.1", ""},
		{"// RFC 9901, A", "A", ""},
		{"// RFC 9901, A room", "", ""},
		{"// as in RFC 9901, which says", "", ""},
		{"// RFC 9902 says", "-", ""},
		{"// RFC 9903, 4.7", "", ""},
		{"// RFC 9999 is not ours", "", ""},
		{"// answers 400 (RFC 9901, 2.1), 3xx and so on", "2.1", ""},
		{"// RFC 9901, 2.1, 3xx and so on", "2.1", ""},
		{"// RFC 9901, 2.2: not done, nobody asks for it", "2.2 gap: nobody asks for it", ""},
		{"s := RFC9901; t := time.RFC3339", "", ""},
		{"// RFC 9901, 2.3", "", "a.go:1: RFC 9901 has no section 2.3"},
		{"x\n// RFC 9901, 2.1 step 4", "", "a.go:2: RFC 9901, 2.1 has no step 4 (it has 3)"},
		{"// RFC 9901, 2.2 step 1", "", "a.go:1: RFC 9901, 2.2 has no step 1 (it has 0)"},
		{"// RFC 9901, 2.2-2.1", "", "a.go:1: RFC 9901: 2.2-2.1 goes backwards"},
		{"// RFC 9901, 1-2.7", "", "a.go:1: RFC 9901 has no section 2.7"},
		{"// RFC 9999, 2.1", "", "a.go:1: RFC 9999 is not in rfc/index.txt"},
		{"// RFC 9901 2.1", "", `a.go:1: RFC 9901: the form is "RFC 9901, SECTION step N"`},
		{"// RFC 9901 section 2.1", "", `a.go:1: RFC 9901: the form is "RFC 9901, SECTION step N"`},
		{"// RFC 9901, section 2.1", "", `a.go:1: RFC 9901: the form is "RFC 9901, SECTION step N"`},
		{"// RFC 9901 §2.1", "", `a.go:1: RFC 9901: the form is "RFC 9901, SECTION step N"`},
	} {
		t.Run(tt.text, func(t *testing.T) {
			refs, wrong := scanFile("a.go", tt.text, made())
			var got []string
			for _, r := range refs {
				s := r.section
				if r.step > 0 {
					s += fmt.Sprintf("/%d", r.step)
				}
				if r.kind == gap {
					s += " gap: " + r.reason
				}
				got = append(got, s)
			}
			if g := strings.Join(got, " "); g != tt.want {
				t.Errorf("references %q, want %q", g, tt.want)
			}
			if w := strings.Join(wrong, "; "); w != tt.wrong {
				t.Errorf("complaints %q, want %q", w, tt.wrong)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	for name, want := range map[string]kind{
		"proxy/a.go": code, "proxy/a_test.go": tested, "cmd/x/testdata/a.ladder": tested, "interop/sipp/a.xml": tested,
		"interop/bench/main.go": tested, "internal/ladder/laddertest/phone.go": tool, "internal/ladder/laddertest/x_test.go": tool,
	} {
		if got, ok := kindOf(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"README.md", "interop/RESULTS.md", "go.sum"} {
		if _, ok := kindOf(name); ok {
			t.Errorf("%s is scanned", name)
		}
	}
}

func TestCoverage(t *testing.T) {
	tree := fstest.MapFS{
		"proxy/a.go":               {Data: []byte("// RFC 9901, 2.1 step 1\n// RFC 9901, 2.2\n// RFC 9901, 2.1 step 2: not done, it is | optional\n")},
		"proxy/a_test.go":          {Data: []byte("// RFC 9901, 2.1 step 1; RFC 9901, 2.1 step 1\n")},
		"proxy/testdata/x.ladder":  {Data: []byte("# RFC 9901, 2.1 step 1\n")},
		"proxy/testdata/fuzz/x.go": {Data: []byte("// RFC 9901, 99\n")},
		".git/x.go":                {Data: []byte("// RFC 9901, 99\n")},
		"rfc/x.go":                 {Data: []byte("// RFC 9901, 99\n")},
	}
	index := made()
	refs, wrong, err := scan(tree, index)
	if err != nil || wrong != nil {
		t.Fatal(wrong, err)
	}
	_, got, _ := strings.Cut(string(coverage(index, refs)), "\n## RFC 9901\n")
	want := `
Made (whole)

| Section | Title | Code | Tests |
|---|---|---|---|
| 2.1 | Steps |  |  |
| 2.1 step 1 | | proxy/a.go | proxy/a_test.go, proxy/testdata/x.ladder |
| 2.1 step 2 | | not done, it is \| optional |  |
| 2.2 | More | proxy/a.go |  |
| 3 | Old | left out: old | |
| A | Appendix |  |  |

## RFC 9902

Plain (part)

| Section | Title | Code | Tests |
|---|---|---|---|
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const text = `
Table of Contents

   1. Introduction ....................................................2
   2. Rules ...........................................................3

1.  Introduction

   There are 2 rules.

2.  Rules

2.1  Steps

   1. first
      1. a detail
   2. second
10  is not a section here

   1. first
   3. third

2.2.  More

Made, et al.                Standards Track                     [Page 2]

3 Last

Appendix A.  Extra

A.1.  Of it
B.  Another
`

func TestExtract(t *testing.T) {
	want := []section{
		{"1", 0, "Introduction"}, {"2", 0, "Rules"}, {"2.1", 3, "Steps"}, {"2.2", 0, "More"}, {"3", 0, "Last"},
		{"A", 0, "Extra"}, {"A.1", 0, "Of it"}, {"B", 0, "Another"},
	}
	got := extract([]byte(text))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back, err := parseTOC(formatTOC(got))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Error(diff)
	}
	if got := extract([]byte("no numbers")); len(got) != 1 || got[0].Number != "-" {
		t.Errorf("%+v", got)
	}
}

func TestIndexErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"3261 all SIP\n", "status"},
		{"SIP whole x\n", "NUMBER STATUS TITLE"},
		{"out 3: why\n", "below a standard"},
		{"3261 whole SIP\n out 3\n", "REASON"},
		{"3261 whole SIP\n", "no rfc/toc/3261.txt"},
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "rfc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "rfc", "index.txt"), []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readIndex(root); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v does not say %q", tt.text, err, tt.want)
		}
	}
}

// The index of this tree and its tables of contents agree.
func TestIndex(t *testing.T) {
	list, err := readIndex("..")
	if err != nil {
		t.Fatal(err)
	}
	sip := find(list, "3261")
	if s := sip.section("16.6"); s == nil || s.Steps != 11 || s.Title != "Request Forwarding" {
		t.Errorf("RFC 3261, 16.6 is %+v", s)
	}
	if s := sip.section("10.3"); s == nil || s.Steps != 8 {
		t.Errorf("RFC 3261, 10.3 is %+v", s)
	}
}
