package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"signalbox/internal/console"
)

// login is the group "login".
func (a *app) login() *cobra.Command {
	return a.group("login", "Manage who is logged in on which device", a.loginList(), a.loginShow(), a.loginAdd(), a.loginRemove())
}

func (a *app) loginList() *cobra.Command {
	var output string
	var q console.Query
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List who is logged in, and where",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printLogins(cmd, q, output, "")
		},
	}
	queryFlags(cmd, &q)
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) loginShow() *cobra.Command {
	var output string
	var q console.Query
	cmd := &cobra.Command{
		Use:   "show USER",
		Short: "Show where a user is logged in",
		Args:  takes("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.User = args[0]
			return a.printLogins(cmd, q, output, args[0])
		},
	}
	cmd.Flags().StringVar(&q.Device, "device", "", "only on this device: `NAME`")
	outputFlag(cmd, &output)
	return cmd
}

// printLogins prints a list; who is named must be in it.
func (a *app) printLogins(cmd *cobra.Command, q console.Query, output, named string) error {
	return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
		list, err := d.LoginList(ctx, q)
		switch {
		case err != nil:
			return err
		case named != "" && len(list) == 0:
			return fmt.Errorf("%s is logged in nowhere", named)
		case output == "json":
			return a.json(list)
		}
		return a.loginTable(list, output == "wide" || named != "")
	})
}

func (a *app) loginTable(list []console.Login, wide bool) error {
	heading := []string{"USER", "DEVICE", "STATE", "START", "END"}
	if wide {
		heading = append(heading, "METHOD", "FROM")
	}
	var rows [][]string
	for _, one := range list {
		end := "-"
		if one.End != nil {
			end = when(*one.End)
		}
		row := []string{one.User, one.Device, one.State, when(one.Start), end}
		if wide {
			row = append(row, one.Method, dash(one.Source))
		}
		rows = append(rows, row)
	}
	return a.table(heading, rows)
}

func (a *app) loginAdd() *cobra.Command {
	var device, start, end string
	cmd := &cobra.Command{
		Use:   "add USER --device NAME",
		Short: "Log a user in on a device",
		Long: "Log a user in on a device: the user can be called there at once, or from the start on. Without a policy that lets logins wait for a device\n" +
			"(offline = \"pending\"), a login that begins now needs a device that is online.",
		Args: takes("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if device == "" {
				return usagef("--device is missing")
			}
			n := console.NewLogin{User: args[0], Device: device}
			for _, one := range []struct {
				name, value string
				to          **time.Time
			}{{"start", start, &n.Start}, {"end", end, &n.End}} {
				if t, err := timeFlag(one.name, one.value); err != nil {
					return err
				} else if !t.IsZero() {
					*one.to = &t
				}
			}
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if err := d.LoginAdd(ctx, n); err != nil {
					return err
				}
				if n.Start != nil && n.Start.After(time.Now()) {
					fmt.Fprintf(a.stdout, "%s will be logged in on %s at %s\n", harmless(n.User), harmless(device), when(*n.Start))
					return nil
				}
				fmt.Fprintf(a.stdout, "%s is logged in on %s\n", harmless(n.User), harmless(device))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&device, "device", "", "`NAME` of the device (needed)")
	cmd.Flags().StringVar(&start, "start", "", "`TIME` at which it begins, such as 2026-01-31T08:00 (default: now)")
	cmd.Flags().StringVar(&end, "end", "", "`TIME` at which it ends (default: never)")
	return cmd
}

func (a *app) loginRemove() *cobra.Command {
	var device string
	cmd := &cobra.Command{
		Use:     "rm USER --device NAME",
		Aliases: []string{"remove"},
		Short:   "Log a user out on a device",
		Args:    takes("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if device == "" {
				return usagef("--device is missing")
			}
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if err := d.LoginRemove(ctx, args[0], device); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s is logged out on %s\n", harmless(args[0]), harmless(device))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&device, "device", "", "`NAME` of the device (needed)")
	return cmd
}
