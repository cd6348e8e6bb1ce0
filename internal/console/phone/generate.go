//go:build ignore

// generate bundles the page's sources into dist: go generate.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	log.SetFlags(0)
	if err := generate(); err != nil {
		log.Fatal("phone: ", err)
	}
}

func generate() error {
	// What package-lock.json says, checked by its hashes; no script of a package is run.
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Stdout, npm.Stderr = os.Stderr, os.Stderr
	if err := npm.Run(); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	out := api.Build(api.BuildOptions{
		EntryPoints: []string{"src/phone.js", "src/sip-phone.js", "src/phone.css"}, AbsWorkingDir: dir, Outdir: "dist", Write: true,
		Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LogLevel: api.LogLevelWarning,
		Define: map[string]string{"process.env.NODE_DEBUG": "false", "global": "globalThis"},
	})
	if len(out.Errors) > 0 {
		return errors.New(out.Errors[0].Text)
	}
	if err := sources(); err != nil {
		return err
	}
	return licences()
}

// sources writes the hash of what the bundles were made from, which a test compares.
func sources() error {
	h := sha256.New()
	err := filepath.WalkDir("src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h.Write([]byte(filepath.ToSlash(path)))
		h.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		return err
	}
	h.Write(lock)
	return os.WriteFile("dist/SOURCES", []byte(hex.EncodeToString(h.Sum(nil))+"\n"), 0o644)
}

// licences collects those of the packages that are in the bundles: they ask to be kept.
func licences() error {
	var b strings.Builder
	b.WriteString("The phone page contains these packages.\n")
	found, err := filepath.Glob("node_modules/*/LICENSE*")
	if err != nil {
		return err
	}
	scoped, err := filepath.Glob("node_modules/@*/*/LICENSE*")
	if err != nil {
		return err
	}
	found = append(found, scoped...)
	slices.Sort(found)
	for _, path := range found {
		name := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "node_modules/")
		if strings.HasPrefix(name, "@types/") || name == "@lit-labs/ssr-dom-shim" {
			continue // not in the bundles
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n---- %s ----\n\n%s\n", name, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	return os.WriteFile("dist/LICENSES.txt", []byte(b.String()), 0o644)
}
