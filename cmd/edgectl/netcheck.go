package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
)

// wayRow is a line of `network check`.
type wayRow struct{ From, Network, To, Address, Latency, MTU, State string }

var wayHeader = wayRow{"FROM", "NETWORK", "TO", "ADDRESS", "LATENCY", "MTU", "STATE"}

const wayTable = `{{.From}}\t{{.Network}}\t{{.To}}\t{{.Address}}\t{{.Latency}}\t{{.MTU}}\t{{.State}}`

func newNetworkCheck(c *cli) *cobra.Command {
	var l listFlags
	var broken bool
	cmd := &cobra.Command{
		Use:   "check [OPTIONS] [NETWORK...]",
		Short: "Try every way of networks, from every board to every board and task",
		Long: `Try every way of the networks that are named, or of all: from every board that
has a part in them to every other, and to every task. Says for each how long an
answer takes and how large a packet may be, and in words what is broken, also of
the boards' own links and rules. Ends with 1 if something is.`,
		Example: "  edgectl network check\n  edgectl network check --broken back",
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			resp, err := node.Board().CheckNetworks(ctx, &api.NetworkCheckRequest{Of: args})
			if err != nil {
				return err
			}
			// Who looks for what is broken may have no leader to ask.
			for _, ref := range unseen(resp, args) {
				if _, err := node.Network().GetNetwork(ctx, &api.GetNetworkRequest{Network: ref}); api.KindOf(err) == api.NotFound {
					return err
				}
			}
			rows, wrong := ways(resp, broken)
			if err := printRows(c, &l, wayTable, wayHeader, rows); err != nil {
				return err
			}
			return wrong
		}),
	}
	fs := cmd.Flags()
	registerFormat(fs, &l.format, "")
	fs.BoolVar(&broken, "broken", false, "only what is broken")
	return cmd
}

// unseen are the networks, of those that are named, in which nothing was tried
// under that name.
func unseen(resp *api.NetworkCheckResponse, named []string) []string {
	return slices.DeleteFunc(slices.Clone(named), func(ref string) bool {
		return slices.ContainsFunc(resp.Boards, func(b api.NetworkCheck) bool {
			return slices.ContainsFunc(b.Ways, func(w api.NetworkWay) bool { return w.Network == ref })
		})
	})
}

// ways renders what boards found, or only what is broken, which is an error too.
func ways(resp *api.NetworkCheckResponse, onlyBroken bool) (rows []wayRow, wrong error) {
	tried, broken := 0, 0
	for _, b := range resp.Boards {
		for _, trouble := range b.Trouble {
			wrong = errors.Join(wrong, fmt.Errorf("board %s: %s", b.NodeName, trouble))
		}
		for _, w := range b.Ways {
			tried++
			row := wayRow{From: b.NodeName, Network: w.Network, To: w.To, Address: w.Addr.String(), Latency: "-", MTU: "-", State: "ok"}
			if w.Latency > 0 {
				row.Latency = w.Latency.Round(10 * time.Microsecond).String()
			}
			if w.MTU > 0 {
				row.MTU = strconv.Itoa(w.MTU)
			}
			if w.Err != "" {
				row.State = "broken"
				broken++
				wrong = errors.Join(wrong, fmt.Errorf("%s to %s in %s: %s", b.NodeName, w.To, w.Network, w.Err))
			}
			if w.Err != "" || !onlyBroken {
				rows = append(rows, row)
			}
		}
	}
	for _, s := range resp.Silent {
		wrong = errors.Join(wrong, fmt.Errorf("board %s did not tell: %s", s.NodeName, s.Err))
	}
	if broken > 0 {
		wrong = errors.Join(wrong, fmt.Errorf("%d of %d ways are broken", broken, tried))
	}
	return rows, wrong
}
