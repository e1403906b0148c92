package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// taskRow is a line of `service ps` and `node ps`, in Docker's names.
type taskRow struct {
	ID, Name, Image, Node, DesiredState, CurrentState, Error, Ports string

	Attempt int
	NextTry string `json:",omitempty"` // of one that failed over and over
	History bool   // a newer task has taken the slot
}

var taskHeader = taskRow{ID: "ID", Name: "NAME", Image: "IMAGE", Node: "NODE", DesiredState: "DESIRED STATE", CurrentState: "CURRENT STATE", Error: "ERROR", Ports: "PORTS"}

const taskTable = `{{.ID}}\t{{if .History}} \_ {{end}}{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}{{if gt .Attempt 1}} (attempt {{.Attempt}}{{with .NextTry}}, {{.}}{{end}}){{else if .NextTry}} ({{.NextTry}}){{end}}\t{{.Error}}\t{{.Ports}}`

func newServicePs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "node", "desired-state")
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] SERVICE...",
		Short: "List the tasks of services, where they run and why they don't",
		Example: `  edgectl service ps web
  edgectl service ps --filter desired-state=running --no-trunc web`,
		Args: needArgs(1, -1), ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var tasks []*api.Task
			err := each(args, func(arg string) error {
				resp, err := node.Control().ListTasks(ctx, &api.ListTasksRequest{Service: arg})
				if err == nil {
					tasks = append(tasks, resp.Tasks...)
				}
				return err
			})
			if err != nil && len(args) == 1 {
				return err
			}
			if perr := c.printTasks(ctx, node, &l, f, tasks); perr != nil {
				return perr
			}
			return err
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newNodePs(c *cli) *cobra.Command {
	var l listFlags
	f := newFilter("id", "name", "desired-state")
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS] [NODE|self...]",
		Short: "List the tasks on boards (default: on this one)",
		Example: `  edgectl node ps
  edgectl node ps board2 board3`,
		ValidArgsFunction: c.completeNodes,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			if len(args) == 0 {
				args = []string{self}
			}
			var tasks []*api.Task
			err := each(args, func(arg string) error {
				ref, err := nodeRef(ctx, node, arg)
				if err != nil {
					return err
				}
				resp, err := node.Control().ListTasks(ctx, &api.ListTasksRequest{Node: ref})
				if err == nil {
					tasks = append(tasks, resp.Tasks...)
				}
				return err
			})
			if err != nil && len(args) == 1 {
				return err
			}
			if perr := c.printTasks(ctx, node, &l, f, tasks); perr != nil {
				return perr
			}
			return err
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func (c *cli) printTasks(ctx context.Context, node *client.Client, l *listFlags, f *filter, tasks []*api.Task) error {
	names, err := nodeNames(ctx, node)
	if err != nil {
		return err
	}
	var rows []taskRow
	last := ""
	for _, t := range tasks {
		name := taskName(t)
		row := newTaskRow(t, names, l)
		row.History = name == last
		if !f.begins("id", string(t.ID)) || !f.begins("name", name) || !f.is("node", string(t.NodeID), names[t.NodeID]) || !f.is("desired-state", string(t.DesiredState)) {
			continue
		}
		last = name
		rows = append(rows, row)
	}
	return printRows(c, l, taskTable, taskHeader, rows)
}

func newTaskRow(t *api.Task, names map[api.NodeID]string, l *listFlags) taskRow {
	image := t.Spec.ContainerSpec.Image
	if !l.noTrunc {
		image = imageName(image)
	}
	state := output.Title(string(t.Status.State))
	if ago := output.Ago(now(), t.Status.Timestamp); ago != "" {
		state += " " + ago
	}
	why := t.Status.Err
	if why == "" && (t.Status.State.Before(api.TaskRunning) || t.Status.State == api.TaskRejected) {
		why = t.Status.Message // what it waits for
	}
	row := taskRow{
		ID: l.id(string(t.ID)), Name: taskName(t), Image: image, Node: names[t.NodeID], DesiredState: output.Title(string(t.DesiredState)),
		CurrentState: state, Error: l.message(why), Ports: portList(t.Ports), Attempt: t.Status.Attempt, NextTry: nextTry(t, now()),
	}
	if row.Node == "" {
		row.Node = api.ShortID(t.NodeID) // removed since
	}
	return row
}

// taskName is Docker's: the slot, or the node of a global service's task.
func taskName(t *api.Task) string {
	if t.Slot == 0 {
		return t.ServiceName + "." + string(t.NodeID)
	}
	return fmt.Sprintf("%s.%d", t.ServiceName, t.Slot)
}

// nodeNames maps the fleet's nodes to what people call them.
func nodeNames(ctx context.Context, node *client.Client) (map[api.NodeID]string, error) {
	resp, err := node.Control().ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	names := make(map[api.NodeID]string, len(resp.Nodes))
	for _, n := range resp.Nodes {
		names[n.ID] = output.Safe(n.Name())
	}
	return names, nil
}
