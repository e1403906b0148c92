package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
)

// completeWait bounds how long a shell is kept waiting for names.
const completeWait = 2 * time.Second

// complete offers what a node lists; where none answers, nothing.
func (c *cli) complete(cmd *cobra.Command, list func(context.Context, *api.ControlClient) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	node, err := client.New(ctx, client.Config{Target: c.host, Patience: -1})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer node.Close()
	names, err := list(ctx, node.Control())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) completeServices(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, control *api.ControlClient) ([]string, error) {
		resp, err := control.ListServices(ctx, &api.ListServicesRequest{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, s := range resp.Services {
			names = append(names, s.Service.Spec.Name)
		}
		return names, nil
	})
}

func (c *cli) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, control *api.ControlClient) ([]string, error) {
		resp, err := control.ListNodes(ctx, &api.ListNodesRequest{})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, n := range resp.Nodes {
			names = append(names, n.Name())
		}
		return names, nil
	})
}

// completeGeneric offers the kinds of generic resources that boards have, with
// what follows each.
func (c *cli) completeGeneric(after string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		kinds, directive := c.complete(cmd, func(ctx context.Context, control *api.ControlClient) ([]string, error) {
			resp, err := control.ListNodes(ctx, &api.ListNodesRequest{})
			if err != nil {
				return nil, err
			}
			var kinds []string
			for _, n := range resp.Nodes {
				for _, r := range n.Description.Resources.GenericResources {
					kinds = append(kinds, r.Kind()+after)
				}
			}
			slices.Sort(kinds)
			return slices.Compact(kinds), nil
		})
		if after != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return kinds, directive
	}
}

// completeTasks offers the running tasks for the first argument.
func (c *cli) completeTasks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return c.complete(cmd, func(ctx context.Context, control *api.ControlClient) ([]string, error) {
		resp, err := control.ListTasks(ctx, &api.ListTasksRequest{Current: true})
		if err != nil {
			return nil, err
		}
		var names []string
		for _, t := range resp.Tasks {
			switch {
			case t.Status.State != api.TaskRunning || t.DesiredState != api.TaskRunning:
			case t.Slot == 0:
				names = append(names, string(t.ID))
			default:
				names = append(names, taskName(t))
			}
		}
		return names, nil
	})
}
