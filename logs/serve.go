package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Config is what Serve needs. Zero bounds are the defaults.
type Config struct {
	// Dir holds the tasks' files, on the disk.
	Dir string
	// RunDir holds the FIFOs and the socket; on tmpfs, and short: a socket's
	// path has 107 bytes at most.
	RunDir string
	// MaxFile, MaxTask and MaxTotal bound one file, all files of a task, and
	// all files, in bytes.
	MaxFile, MaxTask, MaxTotal int64
	// Batch is how long lines may wait to be written.
	Batch  time.Duration
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultMaxFile  = 1 << 20
	DefaultMaxTask  = 3 << 20
	DefaultMaxTotal = 128 << 20
	DefaultBatch    = time.Second
)

// followedBatch is how long lines wait while somebody follows them.
const followedBatch = 100 * time.Millisecond

// ErrRunning: another log process serves the same directory.
var ErrRunning = errors.New("a log process is running already")

func (c Config) withDefaults() Config {
	set := func(field *int64, value int64) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&c.MaxFile, DefaultMaxFile)
	set(&c.MaxTask, DefaultMaxTask)
	set(&c.MaxTotal, DefaultMaxTotal)
	if c.Batch <= 0 {
		c.Batch = DefaultBatch
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func socketPath(runDir string) string { return filepath.Join(runDir, "logs.sock") }
func fifoDir(runDir string) string    { return filepath.Join(runDir, "fifo") }

// Serve is the log process. It goes on with the FIFOs that it finds, answers
// Clients, and when ctx ends writes what it has and leaves the FIFOs for its
// successor. It ends with ErrRunning if there is another, and by itself when
// its socket is taken away.
func Serve(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	// A process that mostly sleeps trades some garbage collection for memory.
	debug.SetGCPercent(40)
	debug.SetMemoryLimit(24 << 20)
	for _, dir := range []string{cfg.Dir, cfg.RunDir, fifoDir(cfg.RunDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make log directory: %w", err)
		}
	}
	unlock, err := lock(filepath.Join(cfg.RunDir, "logs.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServer(cfg, cancel)
	defer s.stop()
	if err := s.adopt(); err != nil {
		return fmt.Errorf("open logs of running tasks: %w", err)
	}
	socket := socketPath(cfg.RunDir)
	_ = os.Remove(socket) // of one that was killed: the lock is ours
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("listen for clients: %w", errors.Join(err, listener.Close()))
	}
	debug.FreeOSMemory() // what the program's other roles needed to initialize

	var group errgroup.Group
	group.Go(func() error { return s.flushLoop(ctx) })
	group.Go(func() error { defer cancel(); return s.accept(ctx, listener) })
	group.Go(func() error { defer cancel(); return watchSocket(ctx, socket) })
	<-ctx.Done()
	_ = listener.Close()
	return group.Wait()
}

// lock makes this process the only one. The kernel drops it with the process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock log directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(ErrRunning, f.Close())
	} else if err != nil {
		return nil, fmt.Errorf("lock log directory: %w", errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil
}

// watchSocket ends when nobody can reach the process any more, because its
// directory was taken away: it must not linger unseen.
func watchSocket(ctx context.Context, path string) error {
	ours, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if now, err := os.Stat(path); err != nil || !os.SameFile(ours, now) {
				return fmt.Errorf("socket %s was taken away", path)
			}
		}
	}
}
