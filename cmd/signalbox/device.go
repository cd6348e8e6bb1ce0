package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/internal/console"
	"signalbox/internal/database"
)

// device is the group "device".
func (a *app) device() *cobra.Command {
	return a.group("device", "Manage devices: televisions, public phones, and every phone that registered",
		a.deviceAdd(), a.deviceList(), a.deviceShow(), a.deviceRemove(), a.deviceGrant(), a.deviceRevoke())
}

func (a *app) deviceAdd() *cobra.Command {
	var p passwordFlags
	var n console.NewDevice
	var cert string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a device that users log in on; it registers with an address of its own",
		Long: "Add a device that users log in on, such as a television or a public phone. It registers with an address of its own, by password or by client\n" +
			"certificate. Plain phones need not be added.",
		Args: takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), true, func(ctx context.Context, d desk) (err error) {
				user, domain := d.account(args[0])
				n.Device = user + "@" + domain
				if cert != "" {
					if n.Certificate, err = fingerprint(cert); err != nil {
						return err
					}
					if err := d.DeviceAdd(ctx, n); err != nil {
						return err
					}
					fmt.Fprintf(a.stdout, "%s added\n", harmless(n.Device))
					return nil
				}
				return a.setPassword(args[0], &p, func(c console.Credentials) error {
					n.MD5, n.SHA256 = c.MD5, c.SHA256
					return d.DeviceAdd(ctx, n)
				}, d, "added")
			})
		},
	}
	p.register(cmd)
	cmd.Flags().StringVar(&n.Kind, "kind", "device", "`KIND` of device, for the policy: tv, camera, lobby ...")
	cmd.Flags().StringVar(&n.Instance, "instance", "", "its `URN` in +sip.instance (default: the one it registers with first)")
	cmd.Flags().StringVar(&cert, "cert", "", "its client certificate: a PEM `FILE`, or \"ca\" for any of the client CA with sip:NAME as its URI")
	return cmd
}

// fingerprint reads a certificate's SHA-256.
func fingerprint(file string) (string, error) {
	if file == database.ByCA {
		return file, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", fmt.Errorf("%s: no certificate in it", file)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

// queryFlags add the choices of a list.
func queryFlags(cmd *cobra.Command, q *console.Query) {
	cmd.Flags().StringVar(&q.User, "user", "", "only of this user: `NAME`")
	cmd.Flags().StringVar(&q.Device, "device", "", "only on this device: `NAME`")
	cmd.Flags().StringVar(&q.Capability, "capability", "", "only with this feature `TAG`, such as video")
	cmd.Flags().StringVar(&q.Address, "address", "", "only from this `ADDRESS` or network")
}

func (a *app) deviceList() *cobra.Command {
	var output string
	var q console.Query
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List devices: those that were added, and every phone that registered",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				list, err := d.DeviceList(ctx, q)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(list)
				}
				return a.deviceTable(list, output == "wide")
			})
		},
	}
	queryFlags(cmd, &q)
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) deviceTable(list []console.Device, wide bool) error {
	heading := []string{"DEVICE", "KIND", "STATE", "SINCE", "FROM", "USERS"}
	if wide {
		heading = append(heading, "INSTANCE", "CREDENTIAL", "GRANTS")
	}
	var rows [][]string
	for _, one := range list {
		state, from := "offline", "-"
		if one.Online {
			state, from = "online", dash(strings.TrimSpace(one.Transport+" "+one.Source))
		}
		row := []string{one.Device, one.Kind, state, sinceOf(one.Since), from, dash(strings.Join(one.Users, ","))}
		if wide {
			credential := "password"
			if one.Certificate != "" {
				credential = "certificate"
			}
			var grants []string
			for _, g := range one.Grants {
				grants = append(grants, g.User)
			}
			row = append(row, dash(strings.Trim(one.Instance, "<>")), credential, dash(strings.Join(grants, ",")))
		}
		rows = append(rows, row)
	}
	return a.table(heading, rows)
}

func sinceOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) deviceShow() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one device",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				one, err := d.DeviceShow(ctx, args[0])
				if err != nil {
					return err
				}
				if output == "json" {
					return a.json(one)
				}
				return a.deviceTable([]console.Device{one}, true)
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// removal is the verb rm of a group.
func (a *app) removal(short, arg string, remove func(ctx context.Context, d desk, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:     "rm " + arg,
		Aliases: []string{"remove"},
		Short:   short,
		Args:    takes(arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				for _, name := range args {
					if err := remove(ctx, d, name); err != nil {
						return err
					}
					fmt.Fprintf(a.stdout, "%s removed\n", harmless(name))
				}
				return nil
			})
		},
	}
}

func (a *app) deviceRemove() *cobra.Command {
	return a.removal("Remove devices: who is on them is logged out; a phone is forgotten", "NAME...", func(ctx context.Context, d desk, name string) error { return d.DeviceRemove(ctx, name) })
}

func (a *app) deviceGrant() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use:   "grant DEVICE USER",
		Short: "Let a device log a user in without the user's password",
		Args:  takes("DEVICE", "USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := timeFlag("until", until)
			if err != nil {
				return err
			}
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if err := d.DeviceGrant(ctx, args[0], args[1], end); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s may log in %s\n", harmless(args[0]), harmless(args[1]))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "`TIME` at which the grant ends, such as 2026-01-31T18:00")
	return cmd
}

func (a *app) deviceRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke DEVICE USER",
		Short: "Take a grant back, and log the user out there",
		Args:  takes("DEVICE", "USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				if err := d.DeviceRevoke(ctx, args[0], args[1]); err != nil {
					return err
				}
				fmt.Fprintf(a.stdout, "%s may no longer log in %s\n", harmless(args[0]), harmless(args[1]))
				return nil
			})
		},
	}
}

// timeFlag reads a time; "" is the zero time.
func timeFlag(name, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := parseTime(value)
	if err != nil {
		return t, usagef("--%s %s: %v", name, value, err)
	}
	return t, nil
}

// reload is the command that makes a running server read users, devices and policy again.
func (a *app) reload() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the running server read accounts and policy again",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atDesk(cmd.Context(), false, func(ctx context.Context, d desk) error {
				server, ok := d.operations.(*console.Client)
				if !ok {
					return errors.New("no server is running: there is nothing to reload")
				}
				if err := server.Reload(ctx); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, "accounts and policy read again")
				return nil
			})
		},
	}
}
