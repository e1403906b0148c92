package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// Config says which daemon to keep.
type Config struct {
	// Program is containerd's path, or its name in $PATH (default "containerd").
	Program string
	// Root is what lasts: images, snapshots, the records of containers.
	Root string
	// Dir is for its socket, configuration, state and log; a reboot empties it.
	Dir string
	// Unit is what systemd calls it. "" is for where there is no systemd.
	Unit string
	// Session starts it without systemd all the same, as a session of its own:
	// for a keeper that is no unit itself. One that is a unit already is known.
	Session bool
	// Cgroup is where it is put without systemd, so that it does not end with
	// the control group of whoever starts it; "" leaves it there.
	Cgroup string
	Logger *slog.Logger
}

// Socket is where the daemon listens.
func (c Config) Socket() string { return filepath.Join(c.Dir, "containerd.sock") }

// Daemon is a containerd that is kept running.
type Daemon struct {
	cfg Config
	log *slog.Logger
	// ways are those by which it may have been started, the first that by which
	// it is: an operator may well start edged by hand where a unit did before.
	ways []launcher

	mu      sync.Mutex
	trouble string
}

// launcher is a way to start a program that outlives this one.
type launcher interface {
	// find is the process that was started before, by this program or one
	// before it; 0 if none lives.
	find(ctx context.Context) (pid int, err error)
	// start starts it.
	start(ctx context.Context, program string, args []string) (pid int, err error)
	// last is what the program said last, as far as known.
	last() string
}

// New makes a keeper; nothing is started before Run.
func New(cfg Config) *Daemon {
	if cfg.Program == "" {
		cfg.Program = "containerd"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{cfg: cfg, log: cfg.Logger, trouble: "containerd is not started yet"}
	alone := session{dir: cfg.Dir, cgroup: cfg.Cgroup}
	switch {
	case cfg.Unit != "" && !cfg.Session:
		d.ways = []launcher{unit{cfg.Unit}, alone}
	case cfg.Unit != "" && systemdRuns():
		d.ways = []launcher{alone, unit{cfg.Unit}}
	default:
		d.ways = []launcher{alone}
	}
	return d
}

// Trouble says in words why the daemon does not run, and what to do; "" while
// it does.
func (d *Daemon) Trouble() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trouble
}

const (
	// One that ends is started again at once, then after pauses that grow up to
	// pauseMost; one that has run for settled may end at once again.
	pauseLeast = 100 * time.Millisecond
	pauseMost  = time.Minute
	settled    = time.Minute
	// stopWithin is how long it may take to end when it is told to.
	stopWithin = 10 * time.Second
)

// Run keeps the daemon running until ctx ends, which leaves it running.
func (d *Daemon) Run(ctx context.Context) error {
	var pause time.Duration
	for {
		begun := time.Now()
		err := d.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > settled {
			pause = 0
		}
		d.note(err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(max(2*pause, pauseLeast), pauseMost)
	}
}

// note takes in why the daemon is not there.
func (d *Daemon) note(err error, pause time.Duration) {
	text := err.Error()
	d.mu.Lock()
	news := text != d.trouble
	d.trouble = text
	d.mu.Unlock()
	if news {
		d.log.Warn("containerd does not run, starting it again", "err", err, "pause", pause)
	}
}

// watch finds or starts the daemon, and returns why it ended.
func (d *Daemon) watch(ctx context.Context) error {
	pid, err := d.find(ctx)
	if err != nil {
		return err
	}
	if pid == 0 {
		if pid, err = d.start(ctx); err != nil {
			return err
		}
		d.log.Info("containerd started", "pid", pid, "socket", d.cfg.Socket())
	}
	d.mu.Lock()
	d.trouble = ""
	d.mu.Unlock()
	if err := host.AwaitExit(ctx, pid); err != nil {
		return fmt.Errorf("watch containerd: %w", err)
	}
	if said := d.ways[0].last(); said != "" {
		return fmt.Errorf("containerd ended: %s", said)
	}
	return errors.New("containerd ended without a word")
}

// process is the one that runs, however it was started; 0 if none does.
func (d *Daemon) process(ctx context.Context) (pid int, err error) {
	for _, way := range d.ways {
		if pid, err = way.find(ctx); pid != 0 || err != nil {
			break
		}
	}
	return pid, err
}

// find is the process to keep. One whose program was replaced since, as by an
// upgrade of the package, is ended: its tasks go on, and the next one finds them.
func (d *Daemon) find(ctx context.Context) (pid int, err error) {
	if pid, err = d.process(ctx); pid == 0 || err != nil {
		return 0, err
	}
	if !host.ProgramReplaced(pid) {
		d.log.Info("containerd taken over", "pid", pid, "socket", d.cfg.Socket())
		return pid, nil
	}
	d.log.Info("containerd was upgraded, starting the new one", "pid", pid)
	return 0, end(ctx, pid)
}

func (d *Daemon) start(ctx context.Context) (pid int, err error) {
	program, err := exec.LookPath(d.cfg.Program)
	if err != nil {
		return 0, fmt.Errorf("%s is not installed on this board: install it, with `apt-get install containerd runc`", d.cfg.Program)
	}
	printed, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s its version: %w", program, err)
	}
	for _, dir := range []string{d.cfg.Dir, d.cfg.Root} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return 0, fmt.Errorf("start containerd: %w", err)
		}
	}
	file := filepath.Join(d.cfg.Dir, "config.toml")
	if err := os.WriteFile(file, []byte(d.cfg.configuration(majorOf(string(printed)))), 0o600); err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	if pid, err = d.ways[0].start(ctx, program, []string{"--config", file}); err != nil {
		return 0, fmt.Errorf("start containerd: %w", err)
	}
	return pid, nil
}

// Stop ends the daemon, if it runs, and waits for its end. Tasks go on. It is
// for when edged leaves the board: while Run is on, another would be started.
func (d *Daemon) Stop(ctx context.Context) error {
	pid, err := d.process(ctx)
	if pid == 0 || err != nil {
		return err
	}
	return end(ctx, pid)
}

// end tells a process to end, and makes it.
func end(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	patient, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if err := host.AwaitExit(patient, pid); err == nil {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	if err := host.AwaitExit(ctx, pid); err != nil {
		return fmt.Errorf("stop containerd: %w", err)
	}
	return nil
}
