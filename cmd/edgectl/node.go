package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newNode(c *cli) *cobra.Command {
	return group("node", "Look after the boards of the fleet",
		newNodeLs(c), newNodeInspect(c), newNodePs(c), newNodeUpdate(c), newNodeRm(c), newNodeAccept(c), newNodeWaiting(c),
		newNodeRole(c, "promote", "Make boards managers, which vote and can lead", api.RoleManager, "promoted to a manager in the fleet."),
		newNodeRole(c, "demote", "Make boards workers, which never vote", api.RoleWorker, "demoted to a worker in the fleet."))
}

// self is the word for the node that is spoken to.
const self = "self"

// nodeRef is a node as the fleet is asked for it: "self" means nothing to a
// leader that is not the node spoken to.
func nodeRef(ctx context.Context, node *client.Client, ref string) (string, error) {
	if ref != self {
		return ref, nil
	}
	board, err := node.Board().GetBoard(ctx)
	if err != nil {
		return "", err
	}
	if board.Membership != api.MembershipMember {
		return "", client.NotMember(board)
	}
	return string(board.NodeID), nil
}

// nodeRow is a line of `node ls`; the names are Docker's where Docker has the thing.
type nodeRow struct {
	ID, Hostname, Status, Availability, ManagerStatus, EngineVersion string

	Self    bool
	Voter   bool
	Since   string `json:",omitempty"` // with a Status other than Ready
	Ails    string `json:",omitempty"` // in a word or two, what a board that is Ready can't do
	Message string `json:",omitempty"`
	Role    string
}

var nodeHeader = nodeRow{ID: "ID", Hostname: "HOSTNAME", Status: "STATUS", Availability: "AVAILABILITY", ManagerStatus: "MANAGER STATUS", EngineVersion: "ENGINE VERSION", Role: "ROLE"}

const nodeTable = `{{.ID}}{{if .Self}} *{{end}}\t{{.Hostname}}\t{{.Status}}{{with .Since}} {{.}}{{end}}{{with .Ails}}, {{.}}{{end}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}`

func newNodeLs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "label", "role", "status")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short: "List the boards: who leads, who votes, who is down and since when",
		Example: `  edgectl node ls
  edgectl node ls --filter role=manager --format json`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error { return c.nodeLs(ctx, node, &l, f) }),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func (c *cli) nodeLs(ctx context.Context, node *client.Client, l *listFlags, f *filter) error {
	resp, err := node.Control().ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return err
	}
	board, err := node.Board().GetBoard(ctx)
	if err != nil {
		return err
	}
	var rows []nodeRow
	for _, n := range resp.Nodes {
		row := newNodeRow(n)
		row.Self = n.ID == board.NodeID
		if f.begins("id", row.ID) && f.begins("name", row.Hostname) && f.labelled("label", n.Spec.Labels) && f.is("role", row.Role) && f.is("status", string(n.Status.State)) {
			rows = append(rows, row)
		}
	}
	people := l.format == "" && !l.quiet
	if err := printRows(c, l, nodeTable, nodeHeader, rows); err != nil || !people {
		return err
	}
	for _, n := range rows {
		if n.Message != "" {
			fmt.Fprintf(c.out, "%s: %s\n", n.Hostname, n.Message)
		}
	}
	return nil
}

func newNodeRow(n *api.Node) nodeRow {
	r := nodeRow{
		ID: string(n.ID), Hostname: output.Safe(n.Name()), Status: output.Title(string(n.Status.State)),
		Availability: output.Title(string(n.Spec.Availability)), EngineVersion: output.Safe(n.Description.Engine.EngineVersion), Role: string(api.RoleWorker),
	}
	if n.Status.State != api.NodeReady {
		r.Since = output.Ago(now(), n.Status.Since)
		r.Message = output.Safe(n.Status.Message)
	}
	if n.Status.State == api.NodeReady {
		r.Ails, r.Message = ailing(n.Description)
	}
	if m := n.ManagerStatus; m != nil {
		r.Role, r.Voter = string(api.RoleManager), m.Voter
		switch {
		case m.Leader:
			r.ManagerStatus = "Leader"
		case !m.Voter:
			r.ManagerStatus = "Catching up"
		default:
			r.ManagerStatus = output.Title(string(m.Reachability))
		}
	}
	return r
}

// ailing is what a board that is there can't do, and why.
func ailing(d api.NodeDescription) (what, why string) {
	var ails, reasons []string
	if e := d.Engine.RuntimeError; e != "" {
		ails, reasons = append(ails, "runs no tasks"), append(reasons, "can't run tasks: "+output.Safe(e))
	}
	if e := d.Trouble; e != "" {
		ails, reasons = append(ails, "can't lead"), append(reasons, output.Safe(e))
	}
	return strings.Join(ails, ", "), strings.Join(reasons, "; ")
}

func newNodeInspect(c *cli) *cobra.Command {
	var format string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NODE|self...",
		Short: "Show all about boards",
		Example: `  edgectl node inspect self --pretty
  edgectl node inspect --format '{{.Description.Platform}}' board2`,
		Args: needArgs(1, -1), ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var found []*api.Node
			err := each(args, func(arg string) error {
				n, err := getNode(ctx, node, arg)
				if err == nil {
					found = append(found, n)
				}
				return err
			})
			if pretty && format == "" {
				for _, n := range found {
					prettyNode(c.out, n)
				}
				return err
			}
			if perr := output.Objects(c.out, format, found); perr != nil {
				return perr
			}
			return err
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "print for people")
	return cmd
}

func getNode(ctx context.Context, node *client.Client, ref string) (*api.Node, error) {
	ref, err := nodeRef(ctx, node, ref)
	if err != nil {
		return nil, err
	}
	resp, err := node.Control().GetNode(ctx, &api.GetNodeRequest{Node: ref})
	if err != nil {
		return nil, err
	}
	return resp.Node, nil
}

func newNodeUpdate(c *cli) *cobra.Command {
	availability := flagvalue.New(flagvalue.Choice(api.AvailabilityActive, api.AvailabilityPause, api.AvailabilityDrain), "active|pause|drain")
	role := flagvalue.New(flagvalue.Choice(api.RoleAuto, api.RoleManager, api.RoleWorker), "auto|manager|worker")
	name := flagvalue.New(flagvalue.Label, "string")
	labels := flagvalue.NewList(flagvalue.ParsePair, "key=value")
	var remove []string
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] NODE|self",
		Short: "Change a board's labels, role, name, or whether it takes tasks",
		Example: `  edgectl node update --availability drain board2
  edgectl node update --label-add zone=attic --role auto self`,
		Args: needArgs(1, 1), ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			ref, err := nodeRef(ctx, node, args[0])
			if err != nil {
				return err
			}
			_, err = node.Control().UpdateNode(ctx, &api.UpdateNodeRequest{
				RequestID: api.NewID[api.RequestID](), Node: ref, Role: role.Value, Availability: availability.Value, Name: name.Value,
				LabelAdd: flagvalue.Map(labels.Values), LabelRemove: remove,
			})
			if err == nil {
				fmt.Fprintln(c.out, args[0])
			}
			return err
		}),
	}
	fs := cmd.Flags()
	fs.Var(availability, "availability", "active takes tasks, pause takes no new ones, drain gives all away")
	fs.Var(role, "role", "auto votes when the fleet needs it, manager always, worker never")
	fs.Var(name, "name", "what to call the board instead of its hostname")
	fs.Var(labels, "label-add", "add or change a label")
	fs.StringArrayVar(&remove, "label-rm", nil, "remove a label, by its `key`")
	return cmd
}

func newNodeRole(c *cli, verb, short string, role api.NodeRole, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " [OPTIONS] NODE|self...", Short: short,
		Example: "  edgectl node " + verb + " board2 board3",
		Args:    needArgs(1, -1), ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			return each(args, func(arg string) error {
				ref, err := nodeRef(ctx, node, arg)
				if err != nil {
					return err
				}
				_, err = node.Control().UpdateNode(ctx, &api.UpdateNodeRequest{RequestID: api.NewID[api.RequestID](), Node: ref, Role: &role})
				if err == nil {
					fmt.Fprintf(c.out, "Node %s %s\n", arg, done)
				}
				return err
			})
		}),
	}
}

func newNodeRm(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] NODE...", Aliases: []string{"remove"},
		Short: "Forget boards: they lose their way in",
		Example: `  edgectl node rm board4
  edgectl node rm --force board4`,
		Args: needArgs(1, -1), ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			return each(args, func(arg string) error {
				ref, err := nodeRef(ctx, node, arg)
				if err != nil {
					return err
				}
				_, err = node.Control().RemoveNode(ctx, &api.RemoveNodeRequest{RequestID: api.NewID[api.RequestID](), Node: ref, Force: force})
				if err == nil {
					fmt.Fprintln(c.out, arg)
				}
				return err
			})
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also a board that is not down")
	return cmd
}
