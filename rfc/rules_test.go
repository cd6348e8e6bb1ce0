package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every rule of rules.txt names a section that exists, and proofs that do: ladders that cite the section, and Go tests.
func TestRules(t *testing.T) {
	text, err := os.ReadFile("rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	functions := goTests(t)
	rule := regexp.MustCompile(`^([0-9.]+)( step [0-9]+)?: (.+) \| (.+)$`)
	rfc, n := "", 0
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "RFC "):
			rfc = line
			continue
		}
		m := rule.FindStringSubmatch(line)
		if m == nil || rfc == "" {
			t.Errorf("rules.txt:%d: want SECTION[ step N]: RULE | PROOF, ...: %q", i+1, line)
			continue
		}
		n++
		section, proofs := m[1], m[4]
		if !strings.Contains(contents(t, rfc), "\n"+section+"\t") {
			t.Errorf("rules.txt:%d: %s has no section %s", i+1, rfc, section)
		}
		if strings.HasPrefix(proofs, "not done: ") {
			continue
		}
		for _, proof := range strings.Split(proofs, ", ") {
			switch ladder, err := os.ReadFile(filepath.Join("..", "cmd", "signalbox", "testdata", "ladder", filepath.FromSlash(proof)+".ladder")); {
			case !strings.Contains(proof, "/"):
				if !functions[proof] {
					t.Errorf("rules.txt:%d: there is no test %s", i+1, proof)
				}
			case err != nil:
				t.Errorf("rules.txt:%d: %v", i+1, err)
			case !cites(ladder, rfc, section):
				t.Errorf("rules.txt:%d: %s does not name %s, %s", i+1, proof, rfc, section)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d rules", n)
	}
}

// contents is the table of contents of a standard, each line after a line end.
func contents(t *testing.T, rfc string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("toc", strings.TrimPrefix(rfc, "RFC ")+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + string(b)
}

// cites tells whether a ladder names the section, or one of several sections after the standard's number.
func cites(ladder []byte, rfc, section string) bool {
	for _, line := range bytes.Split(ladder, []byte("\n")) {
		if !bytes.HasPrefix(line, []byte("#")) {
			break
		}
		for _, part := range strings.Split(string(line), rfc+", ")[1:] {
			part, _, _ = strings.Cut(part, "RFC ")
			for _, word := range strings.FieldsFunc(part, func(r rune) bool { return strings.ContainsRune(" ,;:()", r) }) {
				if strings.TrimSuffix(word, ".") == section {
					return true
				}
			}
		}
	}
	return false
}

// goTests are the names of all test functions of the tree.
func goTests(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
