package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/media"
)

// The exit codes are part of the interface.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// version is the release; make build sets it to the tag or commit.
var version = "0.1.0"

// app is one invocation of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	configPath     string
	ran            bool // the command line was understood
}

// usageError is a mistake in the command line that only the command itself could see.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "signalbox: %v\n", err)
	var usage usageError
	if a.ran && !errors.As(err, &usage) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "\n%s", cmd.UsageString())
	return exitUsage
}

func (a *app) root() *cobra.Command {
	root := a.group("signalbox", "SIP registrar and proxy", a.dev(), a.serve(), a.config(), a.user(), a.reg(), a.device(), a.application(), a.login(), a.policyCommands(), a.reload(), a.eventsCommand(), a.version())
	root.Long = "Signalbox is a SIP registrar and proxy.\n\nTry it:        signalbox dev\nIn production: signalbox serve --config /etc/signalbox/signalbox.toml"
	root.Version = version // for --version
	root.SetVersionTemplate(versionLine())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentFlags().StringVar(&a.configPath, "config", "", "configuration `FILE` (default: ./signalbox.toml, or /etc/signalbox/signalbox.toml)")
	root.PersistentPreRun = func(*cobra.Command, []string) { a.ran = true }
	root.RunE = func(cmd *cobra.Command, args []string) error { return cmd.Help() }
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noCommand(root, "", args[0])
		}
		return nil
	}
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		onlyHolds(completion)
	}
	return root
}

// group is a command that only holds others.
func (a *app) group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(verbs...)
	onlyHolds(c)
	return c
}

// onlyHolds makes a group refuse what it does not know: cobra would print its help and end with exit code 0.
func onlyHolds(c *cobra.Command) {
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noCommand(cmd, cmd.Name()+": ", args[0])
		}
		return usagef("%s: say what to do", cmd.Name())
	}
	c.RunE = func(*cobra.Command, []string) error { return nil }
}

// noCommand names the commands that were perhaps meant.
func noCommand(cmd *cobra.Command, in, name string) error {
	cmd.SuggestionsMinimumDistance = 2 // cobra's own default comes too late for us
	if close := cmd.SuggestionsFor(name); len(close) > 0 {
		return usagef("%sthere is no command %q; is it %q?", in, name, strings.Join(close, `" or "`))
	}
	return usagef("%sthere is no command %q", in, name)
}

// takes checks the number of arguments: the names they have in the usage line, "..." behind the last for several.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		several := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", strings.TrimSuffix(names[len(args)], "..."))
		case len(args) > len(names) && !several:
			return usagef("unexpected %q", args[len(names)])
		}
		return nil
	}
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes(),
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprint(a.stdout, versionLine())
			return nil
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("signalbox %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// config is the group "config".
func (a *app) config() *cobra.Command {
	return a.group("config", "Check the configuration", &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and print what it means, or every error in it",
		Args:  takes(),
		RunE: func(*cobra.Command, []string) error {
			c, err := a.load(serveDefaults())
			if err == nil {
				err = errors.Join(c.readPolicy(), c.tryCertificates())
			}
			if err != nil {
				return err
			}
			for _, doubt := range c.doubtfulCertificates(time.Now()) {
				fmt.Fprintf(a.stderr, "signalbox: %v\n", doubt)
			}
			fmt.Fprintf(a.stdout, "%s is fine\n\n", c.places.file)
			return a.table(nil, configRows(c))
		},
	})
}

func configRows(c *config) [][]string {
	certificate := "local CA in " + c.dataDir()
	switch {
	case len(c.tls)+len(c.https) == 0:
		certificate = "none"
	case len(c.certs) > 0:
		var files []string
		for _, p := range c.certs {
			files = append(files, p.cert)
		}
		certificate = listOf(files)
	}
	clients := "are not asked for a certificate"
	if c.clientCA != "" {
		clients = "may show a certificate signed by " + c.clientCA
		if c.clientRequired {
			clients = "must show a certificate signed by " + c.clientCA
		}
	}
	location := "on disk"
	if c.volatile {
		location = "in memory only: a restart forgets all registrations"
	}
	rows := [][]string{
		{"domains", listOf(c.domains)},
		{"udp", listOf(c.udp)},
		{"tcp", listOf(c.tcp)},
		{"tls", listOf(c.tls)},
		{"https", listOf(c.https)},
		{"http", listOf(c.http)},
		{"advertised", c.describeAdvertise()},
		{"certificate", certificate},
		{"tls clients", clients},
		{"trusted CA", cmp.Or(c.ca, "the system's")},
		{"web pages of", c.describeWeb()},
		{"web proxies", c.describeProxies()},
		{"database", c.database},
		{"registrations", location},
		{"policy", dash(c.policyFile)},
		{"metrics", dash(c.metrics)},
		{"media", c.media.describe()},
		{"silence", "ends a call after " + cmp.Or(c.media.timeout, media.DefaultTimeout).String()},
		{"turn", c.turn.describe(c)},
		{"turn for a user", c.turn.describeReach()},
		{"inbound", c.describeInbound()},
		{"challenge", c.describeChallenge()},
		{"calls", c.describePrivate()},
		{"edge proxy for", listOf(c.edge)},
	}
	rows = append(rows, c.limits.rows()...)
	return append(rows, []string{"log", logLevelName(c.level) + ", " + c.format})
}

// configPlaces are looked at when no --config is given.
var configPlaces = [...]string{"signalbox.toml", "/etc/signalbox/signalbox.toml"}

var errNoConfig = errors.New("no configuration: give one with --config FILE (the shortest is one line: domain = \"example.org\"), or try signalbox dev")

// load reads the configuration file: the one that was named, or the first one found.
func (a *app) load(defaults *config) (*config, error) {
	if a.configPath != "" {
		return loadConfig(a.configPath, defaults)
	}
	for _, path := range configPlaces {
		if _, err := os.Stat(path); err == nil {
			return loadConfig(path, defaults)
		}
	}
	return nil, errNoConfig
}
