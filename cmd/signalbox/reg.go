package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/internal/console"
)

// reg is the group "reg": who is registered, and from where.
func (a *app) reg() *cobra.Command {
	return a.group("reg", "Look at registrations", a.regList(), a.regShow(), a.regRemove())
}

func (a *app) regList() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List who is registered",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				list, err := d.Registrations(ctx)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(list)
				}
				return a.registrationTable(list, output == "wide")
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) regShow() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show the contacts of one account",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				one, err := d.Registration(ctx, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(one)
				}
				return a.registrationTable([]console.Registration{one}, true)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// registrationTable has one row per contact.
func (a *app) registrationTable(list []console.Registration, wide bool) error {
	heading := []string{"ADDRESS", "CONTACT", "EXPIRES", "FROM"}
	if wide {
		heading = append(heading, "Q", "NAT", "UPDATED", "USER-AGENT")
	}
	var rows [][]string
	for _, r := range list {
		for _, c := range r.Contacts {
			row := []string{r.AOR, c.Contact, seconds(c.Expires), dash(strings.TrimSpace(c.Transport + " " + c.Source))}
			if wide {
				nat := "no"
				if c.Behind {
					nat = "yes"
				}
				row = append(row, strconv.FormatFloat(c.Q, 'g', -1, 64), nat, when(c.Updated), c.UserAgent)
			}
			rows = append(rows, row)
		}
	}
	return a.table(heading, rows)
}

func (a *app) regRemove() *cobra.Command {
	var contact string
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove the registrations of an account, or one contact of it",
		Args:    takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if err := d.Deregister(ctx, args[0], contact); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s is no longer registered\n", harmless(args[0]))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&contact, "contact", "", "only this contact `URI`, as reg show prints it")
	return cmd
}
