package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
)

// fleetFlags are the settings of the fleet as a whole, as `docker swarm update` has them.
type fleetFlags struct {
	certExpiry, heartbeat time.Duration
	history               int64
	managers              int
}

func newUpdate(c *cli) *cobra.Command {
	var f fleetFlags
	cmd := &cobra.Command{
		Use:   "update [OPTIONS]",
		Short: "Change how the fleet as a whole runs",
		Example: `  edgectl update --cert-expiry 720h
  edgectl update --managers 5`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				return c.updateFleet(ctx, cmd, node, f)
			})(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&f.certExpiry, "cert-expiry", 0, "how long nodes' certificates last, at least 1m; they renew themselves after two thirds of it (default 2160h0m0s)")
	fs.DurationVar(&f.heartbeat, "dispatcher-heartbeat", 0, "how often nodes report in, 200ms to 1m (default 1.5s)")
	fs.Int64Var(&f.history, "task-history-limit", 0, "how many ended tasks are kept for each slot (default 5)")
	fs.IntVar(&f.managers, "managers", 0, "number of managers: 1, 3 or 5; 0 lets the fleet choose (default 0)")
	return cmd
}

// updateFleet merges what was given into the settings of the moment. They are
// conditional on the version that was read, so that two operators don't undo
// each other.
func (c *cli) updateFleet(ctx context.Context, cmd *cobra.Command, node *client.Client, f fleetFlags) error {
	resp, err := node.Control().GetCluster(ctx, &api.GetClusterRequest{})
	if err != nil {
		return err
	}
	spec, changed := resp.Cluster.Spec, false
	given := func(name string, set func()) {
		if cmd.Flags().Changed(name) {
			set()
			changed = true
		}
	}
	given("cert-expiry", func() { spec.NodeCertExpiry = f.certExpiry })
	given("dispatcher-heartbeat", func() { spec.HeartbeatPeriod = f.heartbeat })
	given("task-history-limit", func() { spec.TaskHistoryRetentionLimit = &f.history })
	given("managers", func() { spec.Managers = f.managers })
	if !changed {
		return usageErrorf("update needs something to change: see edgectl update --help")
	}
	_, err = node.Control().UpdateCluster(ctx, &api.UpdateClusterRequest{Version: resp.Cluster.Version, Spec: spec})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, "Fleet updated.")
	return nil
}
