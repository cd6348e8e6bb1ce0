package phone

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The bundles are those of the sources: dist/SOURCES holds the hash of what they were made from, which go generate writes. So a source that was changed
// without it is found without npm, and without a network.
func TestGenerated(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("dist", "SOURCES"))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	err = filepath.WalkDir("src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h.Write([]byte(filepath.ToSlash(path)))
		h.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	h.Write(lock)
	if got := hex.EncodeToString(h.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("the sources have changed since dist was made: run go generate ./internal/console/phone")
	}
}
