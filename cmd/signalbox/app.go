package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/internal/console"
)

// application is the group "app".
func (a *app) application() *cobra.Command {
	return a.group("app", "Look at application instances: what can be addressed by a GRUU", a.appList(), a.appShow(), a.appAdd(),
		a.removal("Remove the registrations of applications, and forget them", "NAME...", func(ctx context.Context, d desk, name string) error { return d.AppRemove(ctx, name) }))
}

func (a *app) appList() *cobra.Command {
	var output string
	var q console.Query
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List application instances: those that are registered, and those that were and keep their address",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				list, err := d.AppList(ctx, q)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(list)
				}
				return a.appTable(list, output == "wide")
			})
		},
	}
	queryFlags(cmd, &q)
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) appTable(list []console.App, wide bool) error {
	heading := []string{"APPLICATION", "DEVICE", "STATE", "SINCE", "CAPABILITIES"}
	if wide {
		heading = append(heading, "CONTACT", "EXPIRES", "FROM")
	}
	var rows [][]string
	for _, one := range list {
		state := "offline"
		if one.Online {
			state = "online"
		}
		row := []string{one.App, one.Device, state, sinceOf(one.Since), dash(strings.Join(one.Capabilities, " "))}
		if wide {
			expiry := "-"
			if one.Contact != "" {
				expiry = seconds(one.Expires)
			}
			row = append(row, dash(one.Contact), expiry, dash(strings.TrimSpace(one.Transport+" "+one.Source)))
		}
		rows = append(rows, row)
	}
	return a.table(heading, rows)
}

func (a *app) appShow() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one application, by its address as app list prints it",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				one, err := d.AppShow(ctx, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(one)
				}
				return a.appTable([]console.App{one}, true)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) appAdd() *cobra.Command {
	var n console.NewApp
	var expires time.Duration
	cmd := &cobra.Command{
		Use:     "add OWNER",
		Short:   "Register an application that cannot register itself, at a fixed contact",
		Example: "  signalbox app add door --contact sip:door@192.0.2.7:5060 --instance urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6 --features 'audio;video'",
		Args:    takes("OWNER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case n.Contact == "":
				return usagef("--contact is missing")
			case n.Instance == "":
				return usagef("--instance is missing")
			}
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				n.Owner, n.Expires = args[0], int(expires/time.Second)
				if err := d.AppAdd(ctx, n); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s of %s added\n", harmless(n.Instance), harmless(n.Owner))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&n.Contact, "contact", "", "`URI` at which it is reached, with a numeric host (needed)")
	cmd.Flags().StringVar(&n.Instance, "instance", "", "its `URN` (needed)")
	cmd.Flags().StringVar(&n.Features, "features", "", "its feature `TAGS`, such as 'audio;video'")
	cmd.Flags().DurationVar(&expires, "expires", 30*24*time.Hour, "how long it stays registered")
	return cmd
}
