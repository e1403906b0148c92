package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// info is what `info` prints; templates see the board's fields as their own.
type info struct {
	*api.BoardStatus
	ReachableVoters int
	Cluster         *api.Cluster `json:",omitempty"` // nil when no leader answers
}

func newInfo(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "info [OPTIONS]",
		Short: "Show all that a board knows of itself and its fleet",
		Example: `  edgectl info
  edgectl info --format '{{.NodeID}}'`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			board, err := node.Board().GetBoard(ctx)
			if err != nil {
				return err
			}
			i := info{BoardStatus: board}
			if board.Membership == api.MembershipMember {
				ctx, cancel := context.WithTimeout(ctx, leaderWait)
				defer cancel()
				if fleet, err := node.Control().GetCluster(ctx, &api.GetClusterRequest{}); err == nil {
					i.Cluster, i.ReachableVoters, i.Voters = fleet.Cluster, fleet.ReachableVoters, fleet.Voters
				}
			}
			if format != "" && format != output.Table {
				return output.Objects(c.out, format, []info{i})
			}
			i.print(c.out)
			return nil
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func (i info) print(w io.Writer) {
	line := sheet{w}.line
	d := i.Description
	fmt.Fprintln(w, "Board:")
	line(1, "ID", string(i.NodeID))
	line(1, "Hostname", i.Hostname)
	line(1, "Version", i.Version)
	line(1, "Platform", d.Platform.String())
	line(1, "CPUs", output.CPUs(d.Resources.NanoCPUs))
	line(1, "Memory", output.Bytes(d.Resources.MemoryBytes))
	line(1, "Runtime", d.Engine.Runtime)
	line(1, "Runtime Error", d.Engine.RuntimeError)
	line(1, "Address", i.Addr)
	line(1, "State Dir", i.StateDir)
	line(1, "Started", output.Ago(now(), i.StartedAt))
	line(1, "Tasks", i.tasks())
	fmt.Fprintln(w, "Fleet:")
	line(1, "Membership", string(i.Membership))
	line(1, "Message", i.Message)
	if i.Membership != api.MembershipMember {
		line(1, "Boards Seen With The Same Key", fmt.Sprint(i.Candidates))
		line(1, "To Do", client.NotMember(&api.BoardStatus{Membership: i.Membership}).Error())
		return
	}
	i.printFleet(line)
}

func (i info) printFleet(line func(int, string, string)) {
	line(1, "ID", string(i.FleetID))
	line(1, "Name", i.FleetName)
	role := "worker"
	if i.Manager {
		role = "manager"
	}
	line(1, "Role", role)
	line(1, "Leader", orNone(i.LeaderName))
	if i.Cluster == nil {
		line(1, "Managers", count(i.Voters, "voter")+"; no leader answers, nothing can be changed now")
	} else {
		line(1, "Managers", survival(i.Voters, i.ReachableVoters))
		line(1, "Founded", output.Ago(now(), i.Cluster.FoundedAt))
	}
	if !i.CertExpires.IsZero() {
		line(1, "Certificate Expires", i.CertExpires.UTC().Format(time.RFC3339))
	}
	for _, r := range i.Rivals {
		line(1, "Rival", string(r))
	}
}

// tasks counts the board's tasks.
func (i info) tasks() string {
	running := 0
	for _, t := range i.Tasks {
		if t.Status.State == api.TaskRunning {
			running++
		}
	}
	return fmt.Sprintf("%d, %d running", len(i.Tasks), running)
}
