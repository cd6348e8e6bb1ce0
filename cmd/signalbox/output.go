package main

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// outputFlag adds -o to a command that lists something.
func outputFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "output", "o", "table", "`FORMAT`: table, wide or json")
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains([]string{"table", "wide", "json"}, *to) {
			return usagef("-o %s: want table, wide or json", *to)
		}
		return inner(cmd, args)
	}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// json prints a value as indented JSON.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns under an optional heading. What came from the network is made harmless.
func (a *app) table(heading []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 3, ' ', 0)
	for i, row := range append([][]string{heading}, rows...) {
		if i == 0 && heading == nil {
			continue
		}
		for j, cell := range row {
			if j > 0 {
				io.WriteString(w, "\t")
			}
			io.WriteString(w, harmless(cell))
		}
		io.WriteString(w, "\n")
	}
	return w.Flush()
}

// harmless escapes what would move a terminal's cursor, change its colours or break a line (hardening 71).
func harmless(s string) string {
	printable := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if !strings.ContainsFunc(s, func(r rune) bool { return !printable(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func listOf(s []string) string {
	if len(s) == 0 {
		return "off"
	}
	return strings.Join(s, ", ")
}

func when(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func seconds(n int) string { return (time.Duration(n) * time.Second).String() }

// isTerminal tells whether a stream of ours is a person's.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// wantsColor follows https://no-color.org.
func wantsColor(stream any) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(stream)
}
