package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newTask(c *cli) *cobra.Command {
	return group("task", "Look into tasks", newTaskLs(c), newTaskInspect(c), newTaskLogs(c), newTaskExec(c), newTaskStats(c))
}

func newTaskLs(c *cli) *cobra.Command {
	var l listFlags
	all := false
	f := newFilter("id", "name", "node", "desired-state")
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"},
		Short: "List the tasks of all services",
		Example: `  edgectl task ls
  edgectl task ls --all --filter node=board2`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			resp, err := node.Control().ListTasks(ctx, &api.ListTasksRequest{Current: !all})
			if err != nil {
				return err
			}
			return c.printTasks(ctx, node, &l, f, resp.Tasks)
		}),
	}
	l.register(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also the tasks that have ended for good")
	cmd.Flags().VarP(f, "filter", "f", f.usage())
	return cmd
}

func newTaskInspect(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] TASK...",
		Short: "Show all about tasks",
		Example: `  edgectl task inspect web.1
  edgectl task inspect --format '{{.Status.State}} {{.Status.Message}}' web.1`,
		Args: needArgs(1, -1), ValidArgsFunction: c.completeTasks,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			var found []*api.Task
			err := each(args, func(arg string) error {
				resp, err := node.Control().GetTask(ctx, &api.GetTaskRequest{Task: arg})
				if err == nil {
					found = append(found, resp.Task)
				}
				return err
			})
			if perr := output.Objects(c.out, format, found); perr != nil {
				return perr
			}
			return err
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func newTaskLogs(c *cli) *cobra.Command {
	req := api.LogsRequest{}
	var show logFlags
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] TASK",
		Short: "Print what a task wrote, all its attempts",
		Example: `  edgectl task logs -f --tail 20 web.2
  edgectl task logs --since 10m -t web.2`,
		Args: needArgs(1, 1), ValidArgsFunction: c.completeTasks,
	}
	tail, since := registerLogFlags(cmd.Flags(), &req, &show)
	cmd.RunE = c.with(func(ctx context.Context, node *client.Client, args []string) error {
		req.Tail, req.Since = tail.Or(-1), since.Or(time.Time{})
		resp, err := node.Control().GetTask(ctx, &api.GetTaskRequest{Task: args[0]})
		if err != nil {
			return err
		}
		req.Task = string(resp.Task.ID)
		return c.logs(ctx, node, &req, show)
	})
	return cmd
}

// nextTry says when an ended task begins again; "" if it does not, or is due.
func nextTry(t *api.Task, at time.Time) string {
	s := t.Status
	if s.NextTry <= 0 || !s.State.Ended() || !t.DesiredState.Before(api.TaskDraining) {
		return ""
	}
	wait := s.Timestamp.Add(s.NextTry).Sub(at)
	if wait > s.NextTry { // this machine's clock is behind
		wait = s.NextTry
	}
	if wait = wait.Round(time.Second); wait <= 0 {
		return "next try now"
	}
	return "next try in " + wait.String()
}
