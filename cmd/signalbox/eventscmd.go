package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"signalbox/internal/console"
)

// eventsCommand is "events": the feed of what happened, as JSON lines.
func (a *app) eventsCommand() *cobra.Command {
	var since string
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happened: registrations, subscriptions, starts and stops, one JSON value a line",
		Long: "Print what happened, the oldest first, one JSON value a line: who registered, went offline, came back, moved, was taken off or expired; who subscribed;\n" +
			"when the server started and stopped. Refreshes are no events.\n\n" +
			"Every line has a cursor. Give the last one you have seen to --since, and you get what came after it: nothing is missed and nothing comes twice, however\n" +
			"often you ask. The last 200,000 events at least are kept.",
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if _, offline := d.operations.(*console.Desk); offline && follow {
					return errors.New("no server runs: leave out --follow")
				}
				return d.Feed(ctx, since, follow, a.stdout)
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only what came after this `CURSOR`; \""+console.Now+"\" for nothing of the past")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	return cmd
}
