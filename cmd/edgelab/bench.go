package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/internal/bench"
	"github.com/edgeswarm/edgeswarm/internal/lab"
)

var errOverLimit = errors.New("a limit is missed, see the table")

// benchFlags are what measurements can be told.
type benchFlags struct {
	cfg          bench.Config
	runs         int
	settle, over time.Duration
	after        time.Duration
	dist         string
	overlays     int
}

// measurements in the order in which all of them run, the quiet ones last.
var measurements = []struct {
	name string
	run  func(context.Context, benchFlags) ([]bench.Figure, error)
}{
	{"size", func(_ context.Context, f benchFlags) ([]bench.Figure, error) { return bench.Sizes(f.dist) }},
	{"formation", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.Formation(ctx, f.cfg, f.times(5))
	}},
	{"failover", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.Failover(ctx, f.cfg, f.times(10))
	}},
	{"dead-board", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.DeadBoard(ctx, f.cfg, f.times(5))
	}},
	{"published", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.Published(ctx, f.cfg)
	}},
	{"memory", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.Memory(ctx, f.cfg, f.after)
	}},
	{"idle", func(ctx context.Context, f benchFlags) ([]bench.Figure, error) {
		return bench.Idle(ctx, f.cfg, f.settle, f.over)
	}},
}

func (f benchFlags) times(standard int) int {
	if f.runs > 0 {
		return f.runs
	}
	return standard
}

func benchCommand(cfg *lab.Config) *cobra.Command {
	var names []string
	for _, m := range measurements {
		names = append(names, m.name)
	}
	f := benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench [" + strings.Join(names, "|") + "]…",
		Short: "Measure what docs/benchmarks.md says; without arguments all of it",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.take(cmd, cfg)
			for _, arg := range args {
				if !slices.Contains(names, arg) {
					return fmt.Errorf("%q is none of %s", arg, strings.Join(names, ", "))
				}
			}
			var figures []bench.Figure
			for _, m := range measurements {
				if len(args) > 0 && !slices.Contains(args, m.name) {
					continue
				}
				more, err := m.run(cmd.Context(), f)
				if err != nil {
					return fmt.Errorf("measure %s: %w", m.name, err)
				}
				figures = append(figures, more...)
			}
			return printFigures(cmd, figures)
		},
	}
	cmd.Flags().IntVar(&f.runs, "runs", 0, "how often each time is taken (default: 5; 10 of failover)")
	cmd.Flags().DurationVar(&f.settle, "settle", 10*time.Minute, "how long the fleet is left alone before idle is measured")
	cmd.Flags().DurationVar(&f.over, "over", time.Minute, "how long idle is measured")
	cmd.Flags().DurationVar(&f.after, "after", time.Minute, "when memory is measured, from power-on")
	cmd.Flags().StringVar(&f.dist, "dist", "dist", "folder that `make dist` filled")
	return cmd
}

// take takes what the flags of the command's parents say.
func (f *benchFlags) take(cmd *cobra.Command, cfg *lab.Config) {
	f.cfg.Bin = cfg.Bin
	if cmd.Flags().Changed("lab") {
		f.cfg.Lab = cfg.Name
	}
	f.cfg.Progress = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
}

func printFigures(cmd *cobra.Command, figures []bench.Figure) error {
	ok, err := bench.Table(cmd.OutOrStdout(), figures)
	if err == nil && !ok {
		err = errOverLimit
	}
	return err
}

func benchSwarmCommand(cfg *lab.Config) *cobra.Command {
	f := benchFlags{}
	what := bench.Comparison{}
	cmd := &cobra.Command{
		Use: "bench-swarm", Short: "Measure side by side with Docker Swarm on this machine", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.take(cmd, cfg)
			var figures []bench.Figure
			var err error
			if f.overlays > 0 {
				figures, err = bench.Overlays(cmd.Context(), f.cfg, f.overlays)
			} else {
				figures, err = bench.Swarm(cmd.Context(), f.cfg, what)
			}
			if err != nil {
				return err
			}
			return printFigures(cmd, figures)
		},
	}
	cmd.Flags().IntVar(&f.overlays, "overlays", 0, "how often networks between boards are measured, instead of all else")
	cmd.Flags().IntVar(&what.Replicas, "replicas", 30, "replicas of the service")
	cmd.Flags().IntVar(&what.Runs, "runs", 5, "how often each side creates it")
	cmd.Flags().IntVar(&what.Faults, "faults", 0, "how often a leader and a board are killed on each side")
	return cmd
}
