// Package floors is one test: who may import whom, and what may stand at the top of the tree (docs/architecture.md). It reads source, runs
// nothing, and is bounded by the size of the tree.
package floors

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "signalbox/"

// floors of the rooms. A room is a folder with all below it; it imports lower floors only.
var floors = map[string]int{
	"cmd":                  6,
	"internal/console":     5,
	"registrar":            4,
	"proxy":                4,
	"media":                4,
	"internal/transaction": 3,
	"internal/policy":      3,
	"internal/transport":   2,
	"internal/resolve":     2,
	"internal/auth":        2,
	"internal/gruu":        2,
	"location":             2,
	"internal/database":    2,
	"internal/wire":        1,
	"internal/nap":         1,
	"internal/ladder":      0, // the form of a trace: imports nothing of ours
}

// outside the house: programs that look at it. They import no room, and no room imports them.
var outside = []string{"rfc", "interop", "internal/floors"}

// playground is the harness beside the ladder's form; tests alone import it.
const playground = "internal/ladder/laddertest"

// topLevel is all there may be, beside dot-folders and what .gitignore names.
var topLevel = []string{
	"registrar", "proxy", "media", "location", "cmd", "internal", "rfc", "interop", "docs",
	"go.mod", "go.sum", "Makefile", "README.md", "CHANGELOG.md", "LICENSE",
}

// source is what the rules look at of one package: its imports, and where each stands.
type source struct {
	imports, testImports []string
	inits                []string // files with an init function
}

func TestFloors(t *testing.T) {
	root := filepath.Join("..", "..")
	packages, err := read(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 3 {
		t.Fatalf("only %d packages found", len(packages))
	}
	for _, wrong := range check(packages) {
		t.Error(wrong)
	}
}

func TestTopLevel(t *testing.T) {
	root := filepath.Join("..", "..")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	ignore, _ := os.ReadFile(filepath.Join(root, ".gitignore"))
	for _, name := range unknown(names, string(ignore)) {
		t.Errorf("%s has no place at the top of the tree", name)
	}
}

// unknown returns the names that are neither part of the plan nor ignored by git ("/name" or "/name/").
func unknown(names []string, gitignore string) (list []string) {
	ignored := strings.Fields(gitignore)
	for _, name := range names {
		known := slices.Contains(topLevel, name) || name[0] == '.' || slices.Contains(ignored, "/"+name) || slices.Contains(ignored, "/"+name+"/")
		for _, pattern := range ignored {
			match, err := path.Match(pattern, name)
			known = known || err == nil && match
		}
		if !known {
			list = append(list, name)
		}
	}
	return list
}

// read parses every Go file of the tree.
func read(tree fs.FS) (map[string]*source, error) {
	packages := make(map[string]*source)
	return packages, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p := packages[path.Dir(name)]
		if p == nil {
			p = new(source)
			packages[path.Dir(name)] = p
		}
		p.add(name, file)
		return nil
	})
}

func (p *source) add(name string, file *ast.File) {
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if strings.HasSuffix(name, "_test.go") {
			p.testImports = append(p.testImports, imported)
		} else {
			p.imports = append(p.imports, imported)
		}
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			p.inits = append(p.inits, name)
		}
	}
}

// check returns what is wrong, one sentence each.
func check(packages map[string]*source) (wrong []string) {
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		p := packages[dir]
		room, floor, ok := roomOf(dir)
		isOutside := slices.ContainsFunc(outside, func(o string) bool { return within(dir, o) })
		if !ok && !isOutside {
			wrong = append(wrong, dir+" has no floor")
			continue
		}
		for _, imported := range slices.Compact(slices.Sorted(slices.Values(p.imports))) {
			if why := forbidden(dir, imported); why != "" {
				wrong = append(wrong, dir+" imports "+imported+": "+why)
			}
			theirs, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			other, otherFloor, ok := roomOf(theirs)
			switch {
			case isOutside:
				if !slices.ContainsFunc(outside, func(o string) bool { return within(theirs, o) }) {
					wrong = append(wrong, dir+" imports "+theirs+": what looks at the house from outside imports no room")
				}
			case !ok:
				wrong = append(wrong, dir+" imports "+theirs+", which has no floor")
			case other == room || dir == playground:
			case otherFloor == floor:
				wrong = append(wrong, dir+" imports "+theirs+" on its own floor")
			case otherFloor > floor:
				wrong = append(wrong, dir+" imports "+theirs+" on a higher floor")
			}
		}
		for _, imported := range p.testImports {
			if strings.HasPrefix(imported, "github.com/stretchr/testify") {
				wrong = append(wrong, dir+" imports testify")
			}
		}
		for _, name := range p.inits {
			wrong = append(wrong, name+" has an init function: the world is handed in")
		}
	}
	return wrong
}

// forbidden says why no code but tests may import this.
func forbidden(dir, imported string) string {
	const sipgo = "github.com/emiago/sipgo"
	switch {
	case within(imported, sipgo) && imported != sipgo+"/sip":
		return "of sipgo only the message model is used"
	case imported == module+playground:
		return "only tests play ladders"
	case (imported == "testing" || strings.HasPrefix(imported, "testing/")) && dir != playground:
		return "tests do not belong in the program"
	}
	return ""
}

// roomOf returns the room that a folder is in.
func roomOf(dir string) (room string, floor int, ok bool) {
	for room, floor := range floors {
		if within(dir, room) {
			return room, floor, true
		}
	}
	return "", 0, false
}

func within(dir, room string) bool { return dir == room || strings.HasPrefix(dir, room+"/") }
