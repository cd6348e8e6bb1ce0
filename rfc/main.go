// Command rfc checks every reference to a standard in the tree and writes COVERAGE.md: which section is implemented where, and which test
// proves it. `make check` runs it; nothing imports it.
//
//	go run ./rfc           check the tree, write rfc/COVERAGE.md
//	go run ./rfc toc DIR   extract rfc/toc/*.txt from the standards' texts in DIR (rfcNNNN.txt)
//
// A reference has one form: `RFC 3261, 16.6 step 8`; lists and ranges of sections are understood (`RFC 3261, 17.1 and 17.2`, `RFC 3261,
// 16.3-16.5`). In code it means implemented; in tests, ladders and interop/ it means tested. `RFC 3261, 16.3 step 4: not done, WHY` states
// a gap. index.txt, kept by hand, says which standards are claimed and which sections are left out, with the reason.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	err := error(nil)
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = check(".", os.Stderr.WriteString)
	case len(args) == 2 && args[0] == "toc":
		err = extractAll(".", args[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: go run ./rfc [toc DIR]   (at the top of the tree)")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rfc:", err)
		os.Exit(1)
	}
}

// check reads index and tables of contents, scans the tree, complains of every wrong reference, and writes COVERAGE.md.
func check(root string, complain func(string) (int, error)) error {
	index, err := readIndex(root)
	if err != nil {
		return err
	}
	refs, wrong, err := scan(os.DirFS(root), index)
	if err != nil {
		return err
	}
	for _, w := range wrong {
		_, _ = complain(w + "\n")
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d wrong references", len(wrong))
	}
	path := filepath.Join(root, "rfc", "COVERAGE.md")
	text := coverage(index, refs)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return os.WriteFile(path, text, 0o644)
}

// extractAll writes a table of contents for every standard of the index whose text is in dir.
func extractAll(root, dir string) error {
	list, err := parseIndex(filepath.Join(root, "rfc", "index.txt"))
	if err != nil {
		return err
	}
	out := filepath.Join(root, "rfc", "toc")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, std := range list {
		text, err := os.ReadFile(filepath.Join(dir, "rfc"+std.Number+".txt"))
		if os.IsNotExist(err) {
			continue // cited only; readIndex complains if it is claimed
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, std.Number+".txt"), formatTOC(extract(text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readIndex parses index.txt and the tables of contents, and checks the one against the other.
func readIndex(root string) ([]*standard, error) {
	list, err := parseIndex(filepath.Join(root, "rfc", "index.txt"))
	if err != nil {
		return nil, err
	}
	for _, std := range list {
		text, err := os.ReadFile(filepath.Join(root, "rfc", "toc", std.Number+".txt"))
		switch {
		case os.IsNotExist(err) && std.Status == cited:
			continue
		case os.IsNotExist(err):
			return nil, fmt.Errorf("RFC %s is claimed, but there is no rfc/toc/%s.txt", std.Number, std.Number)
		case err != nil:
			return nil, err
		}
		if std.Sections, err = parseTOC(text); err != nil {
			return nil, fmt.Errorf("rfc/toc/%s.txt: %w", std.Number, err)
		}
		for _, o := range std.Out {
			if o.Section != "" && std.section(o.Section) == nil {
				return nil, fmt.Errorf("rfc/index.txt:%d: RFC %s has no section %s", o.Line, std.Number, o.Section)
			}
		}
	}
	return list, nil
}
