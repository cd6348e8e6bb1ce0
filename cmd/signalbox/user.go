package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"signalbox/internal/console"
	"signalbox/internal/database"
)

// user is the group "user". Every verb works whether the server runs or not, and a running server sees the change at once.
func (a *app) user() *cobra.Command {
	return a.group("user", "Manage accounts",
		a.userAdd(), a.userList(), a.userShow(), a.userPasswd(), a.userRemove(), a.userImport())
}

func (a *app) userAdd() *cobra.Command {
	var p passwordFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an account: alice, or alice@example.org where there are several domains",
		Long:  "Add an account. The password is asked for; where there is nobody to ask, one is made and printed once.",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), true, func(ctx context.Context, d desk) error {
				return a.setPassword(args[0], &p, func(c console.Credentials) error { return d.Add(ctx, c) }, d, "added")
			})
		},
	}
	p.register(cmd)
	return cmd
}

func (a *app) userPasswd() *cobra.Command {
	var p passwordFlags
	cmd := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Give an account a new password",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				// Nobody types a password twice for an account that does not exist.
				was, err := d.Account(ctx, args[0])
				if err != nil {
					return err
				}
				if err := a.setPassword(args[0], &p, func(c console.Credentials) error { return d.Set(ctx, c) }, d, "has a new password"); err != nil {
					return err
				}
				if was.Contacts > 0 {
					fmt.Fprintf(a.stdout, "phones that registered with the old one are called until that expires: %d; signalbox reg rm ends it now\n", was.Contacts)
				}
				return nil
			})
		},
	}
	p.register(cmd)
	return cmd
}

// setPassword gets a password, hashes it and stores the hashes: the password itself goes nowhere.
func (a *app) setPassword(name string, p *passwordFlags, store func(console.Credentials) error, d desk, did string) error {
	user, domain := d.account(name)
	password, generated, err := a.password(p, user)
	if err != nil {
		return err
	}
	u, err := database.NewUser(user, domain, password)
	if err != nil {
		return err
	}
	c := credentials(u)
	if err := store(c); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s %s\n", harmless(c.User), did)
	if generated {
		fmt.Fprintf(a.stdout, "password: %s\n", password)
	}
	return nil
}

func credentials(u database.User) console.Credentials {
	return console.Credentials{User: u.Name + "@" + u.Domain, MD5: u.MD5, SHA256: u.SHA256}
}

func (a *app) userList() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				list, err := d.Accounts(ctx)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(list)
				}
				return a.accountTable(list, output == "wide")
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) accountTable(list []console.Account, wide bool) error {
	heading := []string{"USER", "CONTACTS"}
	if wide {
		heading = append(heading, "ALGORITHMS", "CREATED")
	}
	rows := make([][]string, 0, len(list))
	for _, one := range list {
		row := []string{one.User, strconv.Itoa(one.Contacts)}
		if wide {
			row = append(row, strings.Join(one.Algorithms, ","), when(one.Created))
		}
		rows = append(rows, row)
	}
	return a.table(heading, rows)
}

func (a *app) userShow() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one account",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				one, err := d.Account(ctx, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(one)
				}
				return a.accountTable([]console.Account{one}, true)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) userRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove accounts and their registrations",
		Args:    takes("NAME..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				for _, name := range args {
					if err := d.Remove(ctx, name); err != nil {
						return err
					}
					fmt.Fprintf(a.stdout, "%s removed\n", harmless(name))
				}
				return nil
			})
		},
	}
}

func (a *app) userImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Add or replace accounts from CSV; - reads standard input",
		Long: `Add or replace accounts from CSV with a header line:

  username,password              or
  username,ha1,ha1_sha256        HA1 values in hex (RFC 7616, 3.4.2); one of the two is enough

A column "domain" is optional, and so is the domain in "alice@example.org". All lines are imported, or none.`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), true, func(ctx context.Context, d desk) error {
				return a.importUsers(ctx, d, args[0])
			})
		},
	}
}

func (a *app) importUsers(ctx context.Context, d desk, path string) error {
	in, name := a.stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in, name = f, path
	}
	// The file is read whole before anything is stored: a mistake in the last line must not cost a half-done import.
	users, err := readUsers(in, name, d.account)
	if err != nil {
		return err
	}
	bar := a.progress(len(users), "importing users")
	n, err := d.Import(ctx, func(yield func(console.Credentials, error) bool) {
		for _, c := range users {
			if !yield(c, nil) {
				return
			}
		}
	}, func(done int) { _ = bar.Set(done) })
	_ = bar.Finish()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "users imported: %d\n", n)
	return nil
}

// progress is a bar on a terminal, and nothing elsewhere.
func (a *app) progress(total int, what string) *progressbar.ProgressBar {
	w := io.Discard
	if isTerminal(a.stderr) {
		w = a.stderr
	}
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionClearOnFinish())
}
