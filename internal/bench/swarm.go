package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// Where Debian's docker.io puts its programs. Another docker may be first in PATH.
const (
	dockerProgram  = "/usr/bin/docker"
	dockerdProgram = "/usr/sbin/dockerd"
)

// newSwarm is a fleet of Docker Swarm that is not up yet: boards with a
// containerd and a dockerd each.
func (c Config) newSwarm(boards int) (*fleet, error) {
	l, err := lab.New(lab.Config{Name: c.Lab + "swarm", Bin: c.Bin})
	if err != nil {
		return nil, err
	}
	return &fleet{
		lab: l, boards: boards, daemon: "dockerd",
		cli: func(b lab.Board) []string { return []string{dockerProgram, "--host", "unix://" + dockerSocket(b)} },
		start: func(ctx context.Context, b lab.Board) error {
			if err := b.Spawn("dockerd", dockerdCommand(b)...); err != nil {
				return err
			}
			return until(ctx, 20*time.Millisecond, func(context.Context) error {
				_, err := os.Stat(dockerSocket(b))
				return err
			})
		},
	}, nil
}

func dockerSocket(b lab.Board) string { return filepath.Join(b.RunDir(), "docker.sock") }

// dockerdCommand gives each dockerd all that is its own. Bridge and rules are
// left out, which spares Swarm work: the tasks that are compared use neither.
func dockerdCommand(b lab.Board) []string {
	return []string{
		dockerdProgram, "--host", "unix://" + dockerSocket(b), "--containerd", b.Containerd(),
		"--data-root", filepath.Join(b.StateDir(), "docker"), "--exec-root", filepath.Join(b.RunDir(), "docker"),
		"--pidfile", filepath.Join(b.RunDir(), "docker-own.pid"),
		"--bridge", "none", "--iptables=false", "--ip6tables=false",
	}
}

// upSwarm starts three managers, the second and third joined by token.
func (f *fleet) upSwarm(ctx context.Context) error {
	for _, program := range []string{dockerProgram, dockerdProgram} {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("find Docker: %w (install Debian's docker.io)", err)
		}
	}
	if err := f.lab.Bare(ctx, f.boards); err != nil {
		return err
	}
	token := ""
	for i := 1; i <= f.boards; i++ {
		b := f.lab.Board(i)
		if err := f.start(ctx, b); err != nil {
			return err
		}
		args := []string{"swarm", "init", "--advertise-addr", b.IP()}
		if i > 1 {
			args = []string{"swarm", "join", "--advertise-addr", b.IP(), "--token", token, f.lab.Board(1).IP() + ":2377"}
		}
		if err := until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
			_, err := f.ask(ctx, i, "info")
			return err
		}); err != nil {
			return err
		}
		if _, err := f.ask(ctx, i, args...); err != nil {
			return err
		}
		if i == 1 {
			out, err := f.ask(ctx, 1, "swarm", "join-token", "--quiet", "manager")
			if err != nil {
				return err
			}
			token = strings.TrimSpace(out)
		}
	}
	_, err := f.settled(ctx)
	return err
}

// Comparison is what Swarm measures.
type Comparison struct {
	Replicas, Runs int
	// Faults are how often a leader and a board are killed; 0 leaves it out.
	Faults int
}

// Swarm measures a fleet of three and three Docker Swarm managers in turn, on
// the same machine, with the same image loaded on each board: the time from
// `service create` until all replicas run, and what the daemons hold in memory
// with them. The last figure is the ratio of both times.
func Swarm(ctx context.Context, cfg Config, what Comparison) (figures []Figure, err error) {
	cfg = cfg.withDefaults()
	ours, err := cfg.newFleet(3, identity.GenerateFleetKey().Reveal())
	if err != nil {
		return nil, err
	}
	theirs, err := cfg.newSwarm(3)
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, ours.lab.Down(ctx), theirs.lab.Down(ctx))
	}()
	cfg.Progress("starting three boards with edged, and three with dockerd")
	if err := errors.Join(ours.lab.Lay(ctx, 3), ours.up(ctx), theirs.upSwarm(ctx)); err != nil {
		return nil, err
	}
	if err := loadBoth(ctx, cfg, ours, theirs); err != nil {
		return nil, err
	}
	c := &comparison{cfg: cfg, what: what, ours: ours, theirs: theirs}
	if err := c.replicas(ctx); err != nil {
		return nil, err
	}
	if what.Faults > 0 {
		if err := c.faults(ctx); err != nil {
			return nil, err
		}
	}
	return c.figures, nil
}

func loadBoth(ctx context.Context, cfg Config, ours, theirs *fleet) error {
	image, err := cfg.webImage()
	if err != nil {
		return err
	}
	defer os.Remove(image)
	for i := 1; i <= theirs.boards; i++ {
		if _, err := theirs.ask(ctx, i, "load", "--input", image); err != nil {
			return err
		}
	}
	if _, err := ours.ask(ctx, 1, "image", "load", "--input", image); err != nil {
		return err
	}
	// Ours holds it on two boards now. A task on each brings it to the third.
	if _, err := ours.ask(ctx, 1, replicated("warm", 3)...); err != nil {
		return err
	}
	return errors.Join(ours.awaitRunning(ctx, 1, "warm", 3, 0), ours.remove(ctx, 1, "warm"))
}

type comparison struct {
	cfg          Config
	what         Comparison
	ours, theirs *fleet
	figures      []Figure
}

const swarmCommand = "make bench-swarm"

func (c *comparison) replicas(ctx context.Context) error {
	n := c.what.Replicas
	times := map[*fleet]*Figure{}
	memory := map[*fleet]*Figure{}
	for _, f := range []*fleet{c.ours, c.theirs} {
		times[f] = &Figure{Name: fmt.Sprintf("%d replicas run, %s", n, f.daemon), Unit: "s", Command: swarmCommand}
		memory[f] = &Figure{Name: fmt.Sprintf("RSS of %s with them", f.daemon), Unit: "MB", Command: swarmCommand}
	}
	for run := range c.what.Runs {
		order := []*fleet{c.ours, c.theirs}
		if run%2 == 1 { // neither is always the one that finds the machine warm
			order[0], order[1] = order[1], order[0]
		}
		for _, f := range order {
			c.cfg.Progress("%d replicas with %s: run %d of %d", n, f.daemon, run+1, c.what.Runs)
			took, err := f.create(ctx, n)
			if err != nil {
				return err
			}
			times[f].Values = append(times[f].Values, took.Seconds())
			for i := 1; i <= f.boards; i++ {
				pid, err := f.lab.Board(i).PID(f.daemon)
				if err != nil {
					return err
				}
				u, err := processUsage(pid)
				if err != nil {
					return err
				}
				memory[f].Values = append(memory[f].Values, mb(u.RSS))
			}
			if err := errors.Join(f.remove(ctx, 1, "many"), pause(ctx, calm)); err != nil {
				return err
			}
		}
	}
	ratio := Figure{Name: fmt.Sprintf("%d replicas: edged's time in dockerd's", n), Unit: "×", Limit: 1, Bounded: true, Command: swarmCommand}
	ratio.Values = []float64{times[c.ours].Median() / times[c.theirs].Median()}
	c.figures = append(c.figures, *times[c.ours], *times[c.theirs], *memory[c.ours], *memory[c.theirs], ratio)
	return nil
}

// create is the time from `service create` until `service ls` shows that all
// replicas run.
func (f *fleet) create(ctx context.Context, n int) (time.Duration, error) {
	begin := time.Now()
	if _, err := f.ask(ctx, 1, replicated("many", n)...); err != nil {
		return 0, err
	}
	want := fmt.Sprintf("%d/%d", n, n)
	err := until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		out, err := f.ask(ctx, 1, "service", "ls", "--filter", "name=many", "--format", "{{.Replicas}}")
		if got := strings.TrimSpace(out); err == nil && got != want {
			err = fmt.Errorf("%s replicas run", got)
		}
		return err
	})
	return time.Since(begin), err
}

// faults measures how soon each gets over a death.
func (c *comparison) faults(ctx context.Context) error {
	for _, f := range []*fleet{c.ours, c.theirs} {
		writes, err := f.failovers(ctx, c.cfg, c.what.Faults)
		if err != nil {
			return err
		}
		moves, err := f.deaths(ctx, c.cfg, c.what.Faults)
		if err != nil {
			return err
		}
		c.figures = append(c.figures,
			Figure{Name: "kill -9 of the leader to the next accepted write, " + f.daemon, Unit: "s", Values: writes, Command: swarmCommand},
			Figure{Name: "a dead board's tasks run elsewhere, " + f.daemon, Unit: "s", Values: moves, Command: swarmCommand})
	}
	return nil
}
