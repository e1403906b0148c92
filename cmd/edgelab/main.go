// Command edgelab makes and unmakes labs: fleets of boards in network
// namespaces of this machine. It is for developers; no board needs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "edgelab:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	cfg := lab.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	root := &cobra.Command{Use: "edgelab", Short: "Run a fleet of boards on this machine", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().StringVar(&cfg.Name, "lab", "edgelab", "name of the lab; several may be up at once")
	root.PersistentFlags().StringVar(&cfg.Bin, "bin", "bin", "folder of edged and edgectl")
	root.AddCommand(upCommand(&cfg), downCommand(&cfg), boardCommand(&cfg), cutCommand(&cfg), imageCommand(&cfg), benchCommand(&cfg), benchSwarmCommand(&cfg))
	return root
}

func upCommand(cfg *lab.Config) *cobra.Command {
	nodes, wait := 3, false
	cmd := &cobra.Command{
		Use: "up", Short: "Start boards that hold one fleet key and nothing else", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.FleetKey == "" {
				cfg.FleetKey = identity.GenerateFleetKey().Reveal()
			}
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context(), nodes); err != nil || !wait {
				return err
			}
			return awaitFleet(cmd.Context(), l, nodes)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", wait, "return when the boards are one fleet")
	cmd.Flags().IntVarP(&nodes, "nodes", "n", nodes, "number of boards")
	cmd.Flags().StringVar(&cfg.FleetKey, "fleet-key", "", "fleet key on the boards' cards (default: a new one)")
	cmd.Flags().StringArrayVar(&cfg.Args, "edged-arg", nil, "a further argument for every edged")
	return cmd
}

// fleetWait is ample: a fleet forms within seconds, also on a busy machine.
const fleetWait = time.Minute

// awaitFleet returns when all boards are members of one fleet, and ready, and
// it has managers to spare where there are boards enough.
func awaitFleet(caller context.Context, l *lab.Lab, nodes int) error {
	ctx, cancel := context.WithTimeout(caller, fleetWait)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := l.Board(1).Edgectl(ctx, "node", "ls", "--format", "{{.Status}} {{.Voter}}")
		ready, voters := strings.Count(out, "Ready"), strings.Count(out, "true")
		if err == nil && ready == nodes && (nodes < 3 || voters >= 3) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if caller.Err() != nil {
				return errors.New("no longer waiting: the boards stay up, and are gone with edgelab down")
			}
			return fmt.Errorf("the boards are up, but only %d of %d are in one fleet: see %s", ready, nodes, l.Board(1).LogFile("edged"))
		}
	}
}

func downCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take the lab away with all its state", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}
}

// boardVerbs are what can be done to one board.
var boardVerbs = map[string]func(context.Context, lab.Board) error{
	"kill":    func(ctx context.Context, b lab.Board) error { return b.Kill(ctx) },
	"start":   func(ctx context.Context, b lab.Board) error { return b.Start(ctx) },
	"restart": func(ctx context.Context, b lab.Board) error { return errors.Join(b.Kill(ctx), b.Start(ctx)) },
}

func boardCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use: "board kill|start|restart INDEX", Short: "Pull a board's plug, or power it on", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			do, ok := boardVerbs[args[0]]
			i, err := strconv.Atoi(args[1])
			if !ok || err != nil || i < 1 {
				return errors.New("usage: edgelab board kill|start|restart INDEX, with INDEX from 1")
			}
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			return do(cmd.Context(), l.Board(i))
		},
	}
}

func cutCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use: "cut [INDEX…]", Short: "Cut boards off from all others; without any, heal every cut",
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return l.Heal(cmd.Context())
			}
			var boards []lab.Board
			for _, arg := range args {
				i, err := strconv.Atoi(arg)
				if err != nil || i < 1 {
					return fmt.Errorf("%q is not a board's index: they count from 1", arg)
				}
				boards = append(boards, l.Board(i))
			}
			return l.Cut(cmd.Context(), boards...)
		},
	}
}

func imageCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use: "image VERSION", Short: "Write the image web:VERSION to standard output", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.WebImage(cmd.OutOrStdout(), cfg.Bin, args[0], host.Platform().Architecture)
		},
	}
}
