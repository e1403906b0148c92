package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newVolume(c *cli) *cobra.Command {
	cmd := group("volume", "See and remove the volumes of boards", newVolumeLs(c), newVolumeInspect(c), newVolumeRm(c))
	cmd.Long = `See and remove the volumes of boards. A volume is a folder of one board, made
there when the first task that asks for it by --mount type=volume,src=NAME is
begun; what is in it outlives the task. It is not copied: two boards that hold a
volume of one name hold different data.

A task is placed where its volumes are, before all else that is preferred. It
runs elsewhere, with an empty volume, only if that board is down, drained or
otherwise can't take it; it is not moved back by itself.`
	return cmd
}

// volumeRow is a line of `volume ls`, in Docker's names.
type volumeRow struct{ Driver, Name, Node, NodeID, Status, Services, Scope, Mountpoint, Labels, Links, Size string }

var volumeHeader = volumeRow{
	Driver: "DRIVER", Name: "VOLUME NAME", Node: "NODE", NodeID: "NODE ID", Status: "STATUS", Services: "SERVICES", Scope: "SCOPE",
	Mountpoint: "MOUNTPOINT", Labels: "LABELS", Links: "LINKS", Size: "SIZE",
}

const volumeTable = `{{.Driver}}\t{{.Name}}\t{{.Node}}\t{{.Status}}\t{{.Services}}`

func newVolumeLs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("name", "node", "driver", "dangling")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short: "List the volumes of all boards, and the services that name them",
		Example: `  edgectl volume ls
  edgectl volume ls --filter dangling=true`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Board().Volumes(ctx, &api.VolumesRequest{})
			if err != nil {
				return err
			}
			var rows []volumeRow
			for _, v := range resp.Volumes {
				dangling := fmt.Sprint(len(v.Services) == 0)
				if f.begins("name", v.Name) && f.is("node", v.NodeName, string(v.NodeID)) && f.is("driver", api.VolumeDriver) && f.is("dangling", dangling) {
					rows = append(rows, newVolumeRow(&l, v))
				}
			}
			if l.quiet && l.format == "" {
				l.format = "{{.Name}}"
			}
			return printRows(c, &l, volumeTable, volumeHeader, rows)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().Lookup("quiet").Usage = "print only names"
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newVolumeRow(l *listFlags, v api.Volume) volumeRow {
	const unknown = "N/A" // Docker's
	services := ""
	for i, s := range v.Services {
		if i > 0 {
			services += ", "
		}
		services += s
	}
	return volumeRow{
		Driver: api.VolumeDriver, Name: output.Safe(v.Name), Node: output.Safe(v.NodeName), NodeID: l.id(string(v.NodeID)), Status: output.Title(string(v.NodeState)),
		Services: l.message(services), Scope: api.VolumeDriver, Mountpoint: unknown, Links: unknown, Size: unknown,
	}
}

// volumeObject is a volume as it is inspected, in Docker's names first.
type volumeObject struct {
	Name, Driver, Scope, Mountpoint string
	CreatedAt                       time.Time

	Node      api.NodeID
	NodeName  string
	NodeState api.NodeState
	Services  []string
	Tasks     []api.TaskBrief
}

func newVolumeInspect(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] VOLUME...",
		Short: "Show all about volumes, on each board that holds one of the name",
		Example: `  edgectl volume inspect data
  edgectl volume inspect --format '{{.NodeName}}:{{.Mountpoint}}' data`,
		Args: needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			resp, err := node.Board().Volumes(ctx, &api.VolumesRequest{Names: args, Detail: true})
			if err != nil {
				return err
			}
			var found []volumeObject
			seen := map[string]bool{}
			for _, v := range resp.Volumes {
				seen[v.Name] = true
				o := volumeObject{Name: v.Name, Driver: api.VolumeDriver, Scope: api.VolumeDriver, Node: v.NodeID, NodeName: v.NodeName, NodeState: v.NodeState, Services: v.Services}
				if v.Here != nil {
					o.Mountpoint, o.CreatedAt, o.Tasks = v.Here.Mountpoint, v.Here.CreatedAt, v.Here.Tasks
				}
				found = append(found, o)
			}
			var missing error
			for _, name := range args {
				if !seen[name] {
					missing = errors.Join(missing, api.Errorf(api.NotFound, "", "no board holds a volume %q; see edgectl volume ls", name))
				}
			}
			return errors.Join(output.Objects(c.out, format, found), missing)
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func newVolumeRm(c *cli) *cobra.Command {
	var on string
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] VOLUME...", Aliases: []string{"remove"},
		Short: "Remove volumes that nothing uses, with all that is in them",
		Long: `Remove volumes that nothing uses, with all that is in them. One that a service
names is removed only with --force, and one that a task uses not even then. The
board that holds it must be up.`,
		Example: `  edgectl volume rm data
  edgectl volume rm --node board2 data`,
		Args: needArgs(1, -1),
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			ref := on
			if on != "" {
				var err error
				if ref, err = nodeRef(ctx, node, on); err != nil {
					return err
				}
			}
			return each(args, func(name string) error {
				_, err := node.Board().RemoveVolume(ctx, &api.RemoveVolumeRequest{Volume: name, Node: ref, Force: force})
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&on, "node", "", "board it is on, where several hold one of the name")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove it also while services name it")
	return cmd
}
