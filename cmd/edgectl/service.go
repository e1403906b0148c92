package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

func newService(c *cli) *cobra.Command {
	return group("service", "Declare services, change them, and see how they run",
		newServiceCreate(c), newServiceLs(c), newServicePs(c), newServiceInspect(c), newServiceUpdate(c),
		newServiceRollback(c), newServiceScale(c), newServiceRebalance(c), newServiceRm(c), newServiceLogs(c))
}

// waitFlags say whether to stay until a change has come about.
type waitFlags struct{ detach, quiet bool }

func (w *waitFlags) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&w.detach, "detach", "d", false, "return at once instead of waiting until the service has converged")
	fs.BoolVarP(&w.quiet, "quiet", "q", false, "show no progress")
}

func newServiceCreate(c *cli) *cobra.Command {
	f := &createFlags{endpoint: &c.host}
	var w waitFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [ARG...]",
		Short: "Declare a service: tasks that the fleet keeps running",
		Long: `Declare a service: tasks that the fleet keeps running. The arguments after the
image replace the image's command, and go to its entrypoint.

It waits until all tasks run and have stayed up for the monitor period, or for a
job, until they have completed. Ctrl-C ends the waiting, not the service.`,
		Example: `  edgectl service create --name web --replicas 6 --publish mode=host,target=80,published=8080 nginx
  edgectl service create --name cam --mode global --device class=camera --group-add 44 \
      --mount type=bind,src=/dev/shm,dst=/frames,readonly --limit-memory 64m acme/cam:3 --fps 10
  edgectl service create --name backup --mode replicated-job --replicas 5 --max-concurrent 2 acme/backup
  edgectl service create --name clean --mode global-job -e TZ=UTC -d busybox sh -c 'date; sleep 60'`,
		Args: needArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := f.spec(args[0], args[1:])
			if err != nil {
				return err
			}
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				if dryRun {
					return c.forecast(ctx, node, &api.ForecastServiceRequest{Create: &spec})
				}
				return c.serviceCreate(ctx, node, spec, w)
			})(cmd, args)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the image is the image's
	f.register(cmd.Flags())
	w.register(cmd.Flags())
	registerDryRun(cmd.Flags(), &dryRun)
	_ = cmd.RegisterFlagCompletionFunc("generic-resource", c.completeGeneric("=")) // it errs for no flag that there is
	return cmd
}

// nameTries bounds how often a made-up name may turn out to be taken.
const nameTries = 5

func (c *cli) serviceCreate(ctx context.Context, node *client.Client, spec api.ServiceSpec, w waitFlags) error {
	madeUp := spec.Name == ""
	for try := 1; ; try++ {
		if madeUp {
			spec.Name = randomName()
		}
		resp, err := node.Control().CreateService(ctx, &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: spec})
		if madeUp && try < nameTries && api.KindOf(err) == api.Conflict {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, resp.Service.ID)
		c.warn(resp.Warnings)
		return c.converge(ctx, node, change{service: resp.Service, waitFlags: w})
	}
}

func (c *cli) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(c.err, "warning: "+w)
	}
}

func newServiceUpdate(c *cli) *cobra.Command {
	f := &changeFlags{}
	var w waitFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] SERVICE",
		Short: "Change a service; its tasks are replaced wave by wave",
		Long: `Change a service; its tasks are replaced wave by wave. What no flag names stays
as it is.

It waits until the update has walked through all tasks, and fails when it pauses
or rolls back. Ctrl-C ends the waiting, not the update.`,
		Example: `  edgectl service update --image nginx:1.27 --parallelism 2 --delay 10s web
  edgectl service update --env-add TZ=UTC --publish-rm 80 --limit-memory 0 web
  edgectl service update --force web
  edgectl service update --rollback web`,
		Args: needArgs(1, 1), ValidArgsFunction: c.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.rollbackNow {
				if other := otherThan(cmd.Flags(), "rollback", "detach", "quiet", "host"); other != "" {
					return invalidf("--rollback can't be combined with --%s: it returns to the spec as it was; give one of the two", other)
				}
				return c.with(func(ctx context.Context, node *client.Client, args []string) error {
					return c.serviceRollback(ctx, node, args[0], w)
				})(cmd, args)
			}
			patch, err := f.patch()
			if err != nil {
				return err
			}
			return c.with(func(ctx context.Context, node *client.Client, args []string) error {
				if dryRun {
					return c.forecast(ctx, node, &api.ForecastServiceRequest{Service: args[0], Patch: &patch})
				}
				resp, err := node.Control().UpdateService(ctx, &api.UpdateServiceRequest{RequestID: api.NewID[api.RequestID](), Service: args[0], Patch: patch})
				if err != nil {
					return err
				}
				fmt.Fprintln(c.out, args[0])
				c.warn(resp.Warnings)
				return c.converge(ctx, node, change{service: resp.Service, waitFlags: w})
			})(cmd, args)
		},
	}
	f.register(cmd.Flags())
	w.register(cmd.Flags())
	registerDryRun(cmd.Flags(), &dryRun)
	_ = cmd.RegisterFlagCompletionFunc("generic-resource-add", c.completeGeneric("=")) // it errs for no flag that there is
	_ = cmd.RegisterFlagCompletionFunc("generic-resource-rm", c.completeGeneric(""))
	return cmd
}

// otherThan names a flag that was given and is not among those allowed.
func otherThan(fs *pflag.FlagSet, allowed ...string) (other string) {
	fs.Visit(func(f *pflag.Flag) {
		for _, a := range allowed {
			if f.Name == a {
				return
			}
		}
		other = f.Name
	})
	return other
}

func newServiceRollback(c *cli) *cobra.Command {
	var w waitFlags
	cmd := &cobra.Command{
		Use:     "rollback [OPTIONS] SERVICE",
		Short:   "Return a service to its previous spec",
		Example: `  edgectl service rollback web`,
		Args:    needArgs(1, 1), ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			return c.serviceRollback(ctx, node, args[0], w)
		}),
	}
	w.register(cmd.Flags())
	return cmd
}

func (c *cli) serviceRollback(ctx context.Context, node *client.Client, ref string, w waitFlags) error {
	resp, err := node.Control().RollbackService(ctx, &api.RollbackServiceRequest{RequestID: api.NewID[api.RequestID](), Service: ref})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, ref)
	c.warn(resp.Warnings)
	return c.converge(ctx, node, change{service: resp.Service, rollback: true, waitFlags: w})
}

func newServiceScale(c *cli) *cobra.Command {
	var w waitFlags
	cmd := &cobra.Command{
		Use:     "scale [OPTIONS] SERVICE=REPLICAS...",
		Short:   "Change how many tasks services have",
		Example: `  edgectl service scale web=6 api=2`,
		Args:    needArgs(1, -1), ValidArgsFunction: c.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := parseScales(args)
			if err != nil {
				return err
			}
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				return c.serviceScale(ctx, node, wanted, w)
			})(cmd, args)
		},
	}
	w.register(cmd.Flags())
	return cmd
}

// scaled is one argument of `service scale`.
type scaled struct {
	service  string
	replicas uint64
}

func parseScales(args []string) ([]scaled, error) {
	var wanted []scaled
	for _, arg := range args {
		name, number, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usageErrorf("%q does not say how many: write SERVICE=REPLICAS, such as web=3", arg)
		}
		n, err := flagvalue.Count(number)
		if err != nil {
			return nil, invalidf("%s: %w", arg, err)
		}
		wanted = append(wanted, scaled{name, n})
	}
	return wanted, nil
}

func (c *cli) serviceScale(ctx context.Context, node *client.Client, wanted []scaled, w waitFlags) error {
	var done []*api.Service
	var errs []error // one that can't be scaled does not stop the others
	for _, s := range wanted {
		resp, err := node.Control().UpdateService(ctx, &api.UpdateServiceRequest{
			RequestID: api.NewID[api.RequestID](), Service: s.service, Patch: api.ServicePatch{Replicas: &s.replicas},
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(c.out, "%s scaled to %d\n", s.service, s.replicas)
		c.warn(resp.Warnings)
		done = append(done, resp.Service)
	}
	return errors.Join(append(errs, c.convergeAll(ctx, node, done, w))...)
}

// convergeAll waits for one service after the other; one that fails does not
// stop the others.
func (c *cli) convergeAll(ctx context.Context, node *client.Client, services []*api.Service, w waitFlags) error {
	var errs []error
	for _, s := range services {
		if len(services) > 1 && !w.detach && !w.quiet {
			fmt.Fprintln(c.out, s.Spec.Name+":")
		}
		if err := c.converge(ctx, node, change{service: s, waitFlags: w}); err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

func newServiceRm(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "rm [OPTIONS] SERVICE...", Aliases: []string{"remove"},
		Short:   "End services and their tasks",
		Example: `  edgectl service rm web`,
		Args:    needArgs(1, -1), ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			return each(args, func(arg string) error {
				_, err := node.Control().RemoveService(ctx, &api.RemoveServiceRequest{RequestID: api.NewID[api.RequestID](), Service: arg})
				if err == nil {
					fmt.Fprintln(c.out, arg)
				}
				return err
			})
		}),
	}
}

// defaultMonitor is how long a task must stay up where the spec does not say.
const defaultMonitor = 5 * time.Second
