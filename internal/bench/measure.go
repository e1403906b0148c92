package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// budget in MiB of a binary, by its file's name; 0 is none of ours. The same
// are in build/size.sh.
func budget(file string) float64 {
	switch {
	case strings.HasPrefix(file, "edged-") && strings.HasSuffix(file, "-amd64"):
		return 22 // mini-PCs have the room; its code is larger
	case strings.HasPrefix(file, "edged-"):
		return 20
	case strings.HasPrefix(file, "edgectl-"):
		return 15
	default:
		return 0
	}
}

// Sizes measures every binary in a folder that `make dist` filled.
func Sizes(dist string) ([]Figure, error) {
	entries, err := os.ReadDir(dist)
	if err != nil {
		return nil, fmt.Errorf("measure sizes: %w (run `make dist`)", err)
	}
	var figures []Figure
	for _, e := range entries {
		limit := budget(e.Name())
		if limit == 0 {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("measure sizes: %w", err)
		}
		figures = append(figures, Figure{
			Name: "size of " + e.Name(), Unit: "MiB", Values: []float64{float64(info.Size()) / (1 << 20)},
			Limit: limit, Bounded: true, Command: "make size",
		})
	}
	return figures, nil
}

// with runs a measurement on a fresh fleet whose boards are plugged in and off,
// and takes it away.
func (c Config) with(ctx context.Context, boards int, measure func(*fleet) error) (err error) {
	f, err := c.newFleet(boards, identity.GenerateFleetKey().Reveal())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.lab.Down(context.WithoutCancel(ctx))) }()
	if err := f.lab.Lay(ctx, boards); err != nil {
		return err
	}
	return measure(f)
}

// Formation measures the time from power-on of three new boards, all at the
// same moment, until each of them sees one fleet of three ready boards with a
// leader; and, without a limit, until three vote.
func Formation(ctx context.Context, cfg Config, runs int) ([]Figure, error) {
	cfg = cfg.withDefaults()
	fleetTime := Figure{Name: "power-on to a formed fleet of 3 with a leader", Unit: "s", Limit: 6, Bounded: true, Command: "build/bench.sh formation"}
	voters := Figure{Name: "power-on to three voters", Unit: "s", Command: fleetTime.Command}
	for run := range runs {
		cfg.Progress("formation: run %d of %d", run+1, runs)
		err := cfg.with(ctx, 3, func(f *fleet) error {
			begin := time.Now()
			if err := f.powerOn(ctx); err != nil {
				return err
			}
			if err := f.formed(ctx); err != nil {
				return err
			}
			fleetTime.Values = append(fleetTime.Values, time.Since(begin).Seconds())
			if _, err := f.settled(ctx); err != nil {
				return err
			}
			voters.Values = append(voters.Values, time.Since(begin).Seconds())
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return []Figure{fleetTime, voters}, nil
}

// up powers a fleet on and waits until it has settled.
func (f *fleet) up(ctx context.Context) error {
	if err := f.powerOn(ctx); err != nil {
		return err
	}
	_, err := f.settled(ctx)
	return err
}

// Failover measures the time from `kill -9` of the leader's edged until another
// board has accepted a write.
func Failover(ctx context.Context, cfg Config, runs int) ([]Figure, error) {
	cfg = cfg.withDefaults()
	figure := Figure{Name: "kill -9 of the leader to the next accepted write", Unit: "s", Limit: 2, Bounded: true, Command: "build/bench.sh failover"}
	err := cfg.with(ctx, 3, func(f *fleet) (err error) {
		if err := f.up(ctx); err != nil {
			return err
		}
		figure.Values, err = f.failovers(ctx, cfg, runs)
		return err
	})
	return []Figure{figure}, err
}

// calm is given to a fleet between runs.
const calm = 3 * time.Second

func (f *fleet) failovers(ctx context.Context, cfg Config, runs int) ([]float64, error) {
	var values []float64
	for run := range runs {
		leader, err := f.settled(ctx)
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, calm); err != nil {
			return nil, err
		}
		asked := f.other(leader)
		cfg.Progress("failover of %s: run %d of %d", f.daemon, run+1, runs)
		if err := f.crash(ctx, leader); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := until(ctx, 20*time.Millisecond, func(ctx context.Context) error {
			_, err := f.ask(ctx, asked, "node", "update", "--label-add", "run="+strconv.Itoa(run), f.lab.Board(asked).Name())
			return err
		}); err != nil {
			return nil, err
		}
		values = append(values, time.Since(begin).Seconds())
		if err := f.start(ctx, f.lab.Board(leader)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// DeadBoard measures the time from the death of a board with all that runs on
// it, the leader's among them, until its tasks run on the others.
func DeadBoard(ctx context.Context, cfg Config, runs int) ([]Figure, error) {
	cfg = cfg.withDefaults()
	figure := Figure{Name: "a dead board's tasks run elsewhere", Unit: "s", Limit: 10, Bounded: true, Command: "build/bench.sh dead-board"}
	err := cfg.with(ctx, 3, func(f *fleet) (err error) {
		if err := f.up(ctx); err != nil {
			return err
		}
		if err := f.loadImage(ctx, cfg); err != nil {
			return err
		}
		figure.Values, err = f.deaths(ctx, cfg, runs)
		return err
	})
	return []Figure{figure}, err
}

func (f *fleet) deaths(ctx context.Context, cfg Config, runs int) ([]float64, error) {
	var values []float64
	for run := range runs {
		cfg.Progress("death of a board with %s: run %d of %d", f.daemon, run+1, runs)
		dead := run%f.boards + 1
		asked := f.other(dead)
		if _, err := f.settled(ctx); err != nil {
			return nil, err
		}
		if _, err := f.ask(ctx, asked, replicated("dead", 6)...); err != nil {
			return nil, err
		}
		if err := f.awaitRunning(ctx, asked, "dead", 6, 0); err != nil {
			return nil, err
		}
		if on, err := f.running(ctx, asked, "dead", dead); err != nil || on == 6 {
			return nil, fmt.Errorf("board%d has no task to lose (%d run elsewhere): %w", dead, on, err)
		}
		if err := pause(ctx, calm); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := f.lab.Board(dead).Kill(ctx); err != nil {
			return nil, err
		}
		if err := f.awaitRunning(ctx, asked, "dead", 6, dead); err != nil {
			return nil, err
		}
		values = append(values, time.Since(begin).Seconds())
		if err := f.revive(ctx, dead); err != nil {
			return nil, err
		}
		if _, err := f.settled(ctx); err != nil {
			return nil, err
		}
		if err := f.remove(ctx, asked, "dead"); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// imageName is of a registry that refuses at once: one that is only unknown
// would cost a name look-up's time-out wherever a registry is asked.
const imageName = "localhost:1/web:1"

// replicated is the command that creates a service of n tasks of the loaded
// image. They share the board's network and listen on a port of their own.
func replicated(name string, n int) []string {
	return []string{"service", "create", "--detach", "--name", name, "--replicas", strconv.Itoa(n), "--network", "host", imageName, "--listen", "127.0.0.1:0"}
}

// remove removes a service and waits until its tasks are gone.
func (f *fleet) remove(ctx context.Context, asked int, service string) error {
	if _, err := f.ask(ctx, asked, "service", "rm", service); err != nil {
		return err
	}
	return until(ctx, 200*time.Millisecond, func(context.Context) error {
		for i := 1; i <= f.boards; i++ {
			if n := len(commands("containerd-shim", f.lab.Board(i).Containerd())); n > 0 {
				return fmt.Errorf("%d tasks of %s still run", n, f.lab.Board(i).Name())
			}
		}
		return nil
	})
}

// loadImage puts the image into the fleet.
func (f *fleet) loadImage(ctx context.Context, cfg Config) error {
	image, err := cfg.webImage()
	if err != nil {
		return err
	}
	defer os.Remove(image)
	_, err = f.ask(ctx, 1, "image", "load", "--input", image)
	return err
}

// webImage writes the image to a file, in the form of docker-save, which both
// read. The caller removes it.
func (c Config) webImage() (string, error) {
	out, err := os.CreateTemp("", "web-*.tar")
	if err != nil {
		return "", err
	}
	err = writeWebImage(out, c.Bin, host.Platform().Architecture)
	if err = errors.Join(err, out.Close()); err != nil {
		_ = os.Remove(out.Name())
		return "", err
	}
	return out.Name(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// mb is bytes as the megabytes that a limit is given in.
func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// Memory measures what edged holds in memory a minute (after) from power-on, on
// three managers and a worker.
func Memory(ctx context.Context, cfg Config, after time.Duration) (figures []Figure, err error) {
	cfg = cfg.withDefaults()
	cfg.Progress("memory: %v after power-on", after)
	err = cfg.with(ctx, 4, func(f *fleet) error {
		begin := time.Now()
		if err := f.up(ctx); err != nil {
			return err
		}
		if err := pause(ctx, after-time.Since(begin)); err != nil {
			return err
		}
		figures, err = f.memory(ctx)
		return err
	})
	return figures, err
}

func (f *fleet) memory(ctx context.Context) ([]Figure, error) {
	const command = "build/bench.sh memory"
	manager := Figure{Name: "RSS of edged, manager", Unit: "MB", Limit: 32, Bounded: true, Worst: true, Command: command}
	worker := Figure{Name: "RSS of edged, worker", Unit: "MB", Limit: 26, Bounded: true, Worst: true, Command: command}
	logs := Figure{Name: "RSS of its log process", Unit: "MB", Command: command}
	out, err := f.ask(ctx, 1, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
	if err != nil {
		return nil, err
	}
	for i := 1; i <= f.boards; i++ {
		b := f.lab.Board(i)
		edged, err := usageOf(b)
		if err != nil {
			return nil, err
		}
		role := &worker
		for _, status := range []string{" Leader\n", " Reachable\n"} {
			if strings.Contains(out, b.Name()+status) {
				role = &manager
			}
		}
		role.Values = append(role.Values, mb(edged[0].RSS))
		logs.Values = append(logs.Values, mb(edged[1].RSS))
	}
	return []Figure{manager, worker, logs}, nil
}

// usageOf is what a board's edged and its log process use.
func usageOf(b lab.Board) ([2]usage, error) {
	var both [2]usage
	pid, err := b.PID("edged")
	if err != nil {
		return both, err
	}
	logs, err := logProcess(b)
	if err != nil {
		return both, err
	}
	for i, pid := range []int{pid, logs} {
		if both[i], err = processUsage(pid); err != nil {
			return both, fmt.Errorf("measure a process of %s: %w", b.Name(), err)
		}
	}
	return both, nil
}

// Idle measures what a fleet of three that runs six tasks writes and uses, over
// a time, once it has been left alone for another.
func Idle(ctx context.Context, cfg Config, settle, over time.Duration) (figures []Figure, err error) {
	cfg = cfg.withDefaults()
	err = cfg.with(ctx, 3, func(f *fleet) error {
		if err := f.up(ctx); err != nil {
			return err
		}
		if err := f.loadImage(ctx, cfg); err != nil {
			return err
		}
		if _, err := f.ask(ctx, 1, replicated("idle", 6)...); err != nil {
			return err
		}
		if err := f.awaitRunning(ctx, 1, "idle", 6, 0); err != nil {
			return err
		}
		cfg.Progress("idle: %v after %v", over, settle)
		if err := pause(ctx, settle); err != nil {
			return err
		}
		figures, err = f.idle(ctx, over)
		return err
	})
	return figures, err
}

func (f *fleet) idle(ctx context.Context, over time.Duration) ([]Figure, error) {
	const command = "build/bench.sh idle"
	written := Figure{Name: "idle fleet of 3: written by edged and its log process", Unit: "bytes", Bounded: true, Worst: true, Command: command}
	cpu := Figure{Name: "idle fleet of 3: share of one core, each node", Unit: "%", Limit: 0.5, Bounded: true, Worst: true, Strict: true, Command: command}
	before := make([][2]usage, f.boards+1)
	var err error
	for i := 1; i <= f.boards; i++ {
		if before[i], err = usageOf(f.lab.Board(i)); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	if err := pause(ctx, over); err != nil {
		return nil, err
	}
	for i := 1; i <= f.boards; i++ {
		after, err := usageOf(f.lab.Board(i))
		if err != nil {
			return nil, err
		}
		bytes, seconds := int64(0), 0.0
		for p := range after {
			bytes += after[p].Written - before[i][p].Written
			seconds += after[p].CPU - before[i][p].CPU
		}
		written.Values = append(written.Values, float64(bytes))
		cpu.Values = append(cpu.Values, 100*seconds/time.Since(begin).Seconds())
	}
	return []Figure{written, cpu}, nil
}
