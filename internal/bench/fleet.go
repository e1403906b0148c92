package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// fleet is boards of a lab that run an orchestrator. Docker's command line and
// ours use the same words, so one fleet does for both.
type fleet struct {
	lab    *lab.Lab
	boards int
	// daemon is the program under test: "edged" or "dockerd".
	daemon string
	// cli is the start of a command line that speaks to a board.
	cli func(lab.Board) []string
	// start starts the daemon of a board whose containerd runs.
	start func(context.Context, lab.Board) error
}

// ask runs a command on a board, and returns what it printed.
func (f *fleet) ask(ctx context.Context, board int, args ...string) (string, error) {
	line := append(f.cli(f.lab.Board(board)), args...)
	var out, errOut strings.Builder
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// limit is how long anything is waited for.
const limit = 3 * time.Minute

// until repeats a question until it has no error.
func until(ctx context.Context, pause time.Duration, ok func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %v: %w", limit, err)
		case <-time.After(pause):
		}
	}
}

// standing is who is there, as one board sees it.
type standing struct {
	ready  int
	voters int // managers that lead or can be reached
	leader int // index of its board; 0 is none
}

func (f *fleet) standing(ctx context.Context, asked int) (standing, error) {
	var s standing
	out, err := f.ask(ctx, asked, "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if words[1] == "Ready" {
			s.ready++
		}
		if len(words) < 3 {
			continue
		}
		switch words[2] {
		case "Leader":
			s.voters++
			s.leader, err = strconv.Atoi(strings.TrimPrefix(words[0], "board"))
		case "Reachable":
			s.voters++
		}
	}
	return s, err
}

// formed waits until every board sees all boards ready, and a leader.
func (f *fleet) formed(ctx context.Context) error {
	for i := 1; i <= f.boards; i++ {
		if err := until(ctx, 20*time.Millisecond, func(ctx context.Context) error {
			s, err := f.standing(ctx, i)
			if err == nil && (s.ready < f.boards || s.leader == 0) {
				err = fmt.Errorf("board%d sees %d boards ready of %d, leader %d", i, s.ready, f.boards, s.leader)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// settled is formed with three voters. It returns the leader's board.
func (f *fleet) settled(ctx context.Context) (leader int, err error) {
	err = until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		for i := 1; i <= f.boards; i++ {
			s, err := f.standing(ctx, i)
			if err != nil {
				return err
			}
			if s.ready < f.boards || s.voters < 3 || s.leader == 0 {
				return fmt.Errorf("board%d sees %d boards ready, %d voters, leader %d", i, s.ready, s.voters, s.leader)
			}
			leader = s.leader
		}
		return nil
	})
	return leader, err
}

// running counts the tasks of a service that run on other boards than except.
func (f *fleet) running(ctx context.Context, asked int, service string, except int) (int, error) {
	out, err := f.ask(ctx, asked, "service", "ps", service, "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) > 1 && words[1] == "Running" && words[0] != f.lab.Board(except).Name() {
			n++
		}
	}
	return n, nil
}

// awaitRunning waits until n tasks of a service run on other boards than except.
func (f *fleet) awaitRunning(ctx context.Context, asked int, service string, n, except int) error {
	return until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		got, err := f.running(ctx, asked, service, except)
		if err == nil && got != n {
			err = fmt.Errorf("%d of %d tasks run", got, n)
		}
		return err
	})
}

// other is a board that is not the given one.
func (f *fleet) other(board int) int { return board%f.boards + 1 }

// powerOn starts all boards at the same moment.
func (f *fleet) powerOn(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := 1; i <= f.boards; i++ {
		g.Go(func() error { return f.lab.Board(i).Start(ctx) })
	}
	return g.Wait()
}

// crash kills a board's daemon alone.
func (f *fleet) crash(ctx context.Context, board int) error {
	return f.lab.Board(board).Signal(ctx, f.daemon, syscall.SIGKILL)
}

// revive starts a board that was killed whole.
func (f *fleet) revive(ctx context.Context, board int) error {
	b := f.lab.Board(board)
	if f.daemon == "edged" {
		return b.Start(ctx) // with a boot ID of its own
	}
	return errors.Join(b.StartContainerd(ctx), f.start(ctx, b))
}

// Config says where to measure.
type Config struct {
	// Lab is the name of the lab to use (default "edgebench"); what is up under
	// that name is taken down.
	Lab string
	// Bin is the folder of edged, edgectl and webd (default "bin").
	Bin string
	// Progress is told what is being measured; nil is nobody.
	Progress func(format string, args ...any)
}

func (c Config) withDefaults() Config {
	if c.Lab == "" {
		c.Lab = "edgebench"
	}
	if c.Bin == "" {
		c.Bin = "bin"
	}
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	return c
}

// newFleet is a fleet of ours that is not up yet.
func (c Config) newFleet(boards int, key string) (*fleet, error) {
	l, err := lab.New(lab.Config{Name: c.Lab, Bin: c.Bin, FleetKey: key})
	if err != nil {
		return nil, err
	}
	return &fleet{
		lab: l, boards: boards, daemon: "edged",
		cli: func(b lab.Board) []string {
			return []string{filepath.Join(c.Bin, "edgectl"), "--host", "unix://" + b.Socket()}
		},
		start: func(_ context.Context, b lab.Board) error { return b.StartEdged() },
	}, nil
}
