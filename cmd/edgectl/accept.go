package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newNodeAccept(c *cli) *cobra.Command {
	role := flagvalue.New(flagvalue.Choice(api.RoleAuto, api.RoleManager, api.RoleWorker), "auto|manager|worker")
	cmd := &cobra.Command{
		Use:   "accept [OPTIONS] CODE",
		Short: "Let in a board that waits, by the code that it shows",
		Long: `Let in a board that waits, by the code that it shows.

A board whose card holds neither a fleet key nor a join token waits until it is
accepted. It shows a code of two groups, with edgectl status on the board itself
and in its log. Type the whole code as the board shows it: the fleet knows only
its first group (edgectl node waiting), and the second one tells the board that
it was you. A code is good for one board, for one use, and for a quarter of an
hour. If the board shows a code that no board waits with, somebody is between it
and this fleet: don't accept what else waits.`,
		Example: `  ssh pi@board4 sudo edgectl status
  edgectl node accept K7QMP-3XPDW
  edgectl node accept --role worker K7QMP-3XPDW`,
		Args: needArgs(1, 1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			resp, err := node.Board().Accept(ctx, &api.AcceptRequest{Code: args[0], Role: role.Or(api.RoleAuto)})
			if err == nil {
				fmt.Fprintf(c.out, "%s (%s) accepted.\n", resp.Board.NodeID, output.Safe(resp.Board.Hostname))
			}
			return err
		}),
	}
	cmd.Flags().Var(role, "role", "auto votes when the fleet needs it, manager always, worker never (default auto)")
	return cmd
}

// waitingRow is a line of `node waiting`.
type waitingRow struct{ Code, Hostname, Address, Waiting, ID string }

var waitingHeader = waitingRow{Code: "CODE", Hostname: "HOSTNAME", Address: "ADDRESS", Waiting: "WAITING", ID: "ID"}

const waitingTable = `{{.Code}}\t{{.Hostname}}\t{{.Address}}\t{{.Waiting}}\t{{.ID}}`

func newNodeWaiting(c *cli) *cobra.Command {
	var l listFlags
	cmd := &cobra.Command{
		Use:   "waiting [OPTIONS]",
		Short: "List the boards that wait to be accepted",
		Long: `List the boards that wait to be accepted, each with the first group of its code.
Name and address are what the board says of itself. Read the whole code on the
board, with edgectl status, and type it into edgectl node accept.`,
		Example: "  edgectl node waiting",
		Args:    noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Board().Waiting(ctx, &api.WaitingRequest{})
			if err != nil {
				return err
			}
			var rows []waitingRow
			for _, b := range resp.Boards {
				rows = append(rows, waitingRow{
					Code: output.Safe(b.Code) + "-…", Hostname: output.Safe(b.Hostname), Address: b.Addr.String(), Waiting: output.Ago(now(), b.Since), ID: l.id(string(b.NodeID)),
				})
			}
			if err := printRows(c, &l, waitingTable, waitingHeader, rows); err != nil || l.format != "" || l.quiet {
				return err
			}
			for _, s := range resp.Silent {
				fmt.Fprintf(c.out, "%s does not answer; boards may wait there too: %s\n", output.Safe(s.NodeName), output.Safe(s.Err))
			}
			return nil
		}),
	}
	l.register(cmd.Flags())
	return cmd
}
