package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
)

func newServiceRebalance(c *cli) *cobra.Command {
	var w waitFlags
	var all, dryRun bool
	cmd := &cobra.Command{
		Use:   "rebalance [OPTIONS] SERVICE | --all",
		Short: "Even out over the nodes what runs already",
		Long: `Even out over the nodes what runs already, as it would be if it were placed now:
over what the service's placement preferences name, then over nodes, then by all
that the nodes have. As few tasks move as that takes, so many at a time as the
service's update options say: parallelism, delay, order, monitor and failure
action, where a rollback is a pause. A task with a named volume stays with it.

It waits until the tasks have moved. Ctrl-C ends the waiting, not the moving.`,
		Example: `  edgectl service rebalance --dry-run web
  edgectl service rebalance web
  edgectl service rebalance --all`,
		Args: needArgs(0, 1), ValidArgsFunction: c.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usageErrorf("rebalance needs a service, or --all: see edgectl service rebalance --help")
			}
			return c.with(func(ctx context.Context, node *client.Client, args []string) error {
				ref := ""
				if !all {
					ref = args[0]
				}
				if dryRun {
					return c.forecast(ctx, node, &api.ForecastServiceRequest{Service: ref, Rebalance: true})
				}
				return c.serviceRebalance(ctx, node, ref, w)
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all replicated services")
	w.register(cmd.Flags())
	registerDryRun(cmd.Flags(), &dryRun)
	return cmd
}

// serviceRebalance rebalances the service of that name, or with none, all.
func (c *cli) serviceRebalance(ctx context.Context, node *client.Client, ref string, w waitFlags) error {
	resp, err := node.Control().RebalanceServices(ctx, &api.RebalanceServicesRequest{
		RequestID: api.NewID[api.RequestID](), Service: ref, All: ref == "",
	})
	if err != nil {
		return err
	}
	c.warn(resp.Notes)
	if len(resp.Services) == 0 {
		what := "all services"
		if ref != "" {
			what = ref
		}
		fmt.Fprintf(c.out, "nothing to move: the tasks of %s lie as evenly as they may\n", what)
		return nil
	}
	for _, s := range resp.Services {
		fmt.Fprintln(c.out, s.Spec.Name)
	}
	return c.convergeAll(ctx, node, resp.Services, w)
}
