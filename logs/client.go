package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// ClientConfig is what NewClient needs. Dir and RunDir are the log process's.
type ClientConfig struct {
	Dir, RunDir string
	// Spawn starts a log process, if none answers; see Spawn. It may be called
	// while one is just starting: the second then ends with ErrRunning.
	Spawn  func() error
	Logger *slog.Logger
}

// Client speaks to the board's log process, and starts it when it is not
// there. It implements agent.Logs.
type Client struct {
	cfg ClientConfig
	log *slog.Logger
}

// NewClient makes a client. It starts nothing yet.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, log: cfg.Logger}
}

const (
	// spawnPatience bounds the wait for a log process that was just started: a
	// slow board takes a second to begin.
	spawnPatience = 15 * time.Second
	spawnPoll     = 20 * time.Millisecond
	// A log process that dies again and again must not eat the board.
	respawnLeast = 50 * time.Millisecond
	respawnMost  = 5 * time.Second
)

// Run keeps a log process alive until ctx ends, which leaves it running. While
// none runs, tasks that write much are held up, so a dead one is replaced at once.
func (c *Client) Run(ctx context.Context) error {
	var pause time.Duration
	for {
		begun := time.Now()
		err := c.hold(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.log.Warn("log process is gone, starting another", "error", err)
		if time.Since(begun) > respawnMost {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(max(2*pause, respawnLeast), respawnMost)
	}
}

// hold keeps a connection for as long as the process lives.
func (c *Client) hold(ctx context.Context) error {
	conn, err := c.connect(ctx, true)
	if err != nil {
		return err
	}
	defer closeWith(ctx, conn)()
	if err := writeFrame(conn, request{Op: opHello}); err != nil {
		return err
	}
	for {
		var r response
		if err := readFrame(conn, &r); err != nil {
			return err
		}
	}
}

// Open makes the two FIFOs of an attempt and sees that they are read, also
// after this process has ended. It may be repeated.
func (c *Client) Open(ctx context.Context, task *api.Task, attempt int) (stdout, stderr string, err error) {
	r, err := c.call(ctx, "open log", request{Op: opOpen, Task: task.ID, Attempt: attempt}, true)
	return r.Stdout, r.Stderr, err
}

// Close lets go of an attempt's FIFOs once they are drained; it waits a second
// for that at most.
func (c *Client) Close(ctx context.Context, task api.TaskID, attempt int) error {
	_, err := c.call(ctx, "close log", request{Op: opClose, Task: task, Attempt: attempt}, true)
	return err
}

// Remove deletes a task's lines.
func (c *Client) Remove(ctx context.Context, task api.TaskID) error {
	_, err := c.call(ctx, "remove log", request{Op: opRemove, Task: task}, true)
	return err
}

// Retain deletes the lines, and lets go of the FIFOs, of every task that is
// not named: what a crash left behind.
func (c *Client) Retain(ctx context.Context, tasks []api.TaskID) error {
	_, err := c.call(ctx, "clear logs", request{Op: opRetain, Tasks: tasks}, true)
	return err
}

// Shutdown ends the log process, if there is one, after it has written what it
// has. FIFOs stay for the next.
func (c *Client) Shutdown(ctx context.Context) error {
	conn, err := c.connect(ctx, false)
	if absent(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("end log process: %w", err)
	}
	defer closeWith(ctx, conn)()
	if err := writeFrame(conn, request{Op: opStop}); err != nil {
		return fmt.Errorf("end log process: %w", err)
	}
	var r response
	for err == nil { // until it closes the connection, its work done
		err = readFrame(conn, &r)
	}
	return ctx.Err()
}

// call asks the process one thing. spawn says whether to start one for it.
func (c *Client) call(ctx context.Context, op string, q request, spawn bool) (r response, err error) {
	conn, err := c.connect(ctx, spawn)
	if err == nil {
		defer closeWith(ctx, conn)()
		if err = writeFrame(conn, q); err == nil {
			err = readFrame(conn, &r)
		}
	}
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s: %w", op, ctx.Err())
	case err != nil:
		return r, api.Errorf(api.Unavailable, op, "the log process does not answer: %w", err)
	case r.Err != "":
		return r, &api.Error{Kind: r.Kind, Op: op, Err: errors.New(r.Err)}
	}
	return r, nil
}

// connect reaches the process, and starts one if it may and has to.
func (c *Client) connect(ctx context.Context, spawn bool) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if !absent(err) || !spawn || c.cfg.Spawn == nil {
		return conn, err
	}
	if err := c.cfg.Spawn(); err != nil {
		return nil, fmt.Errorf("start log process: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, spawnPatience)
	defer cancel()
	tick := time.NewTicker(spawnPoll)
	defer tick.Stop()
	for {
		if conn, err = c.dial(ctx); !absent(err) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the log process that was started does not answer: %w", err)
		case <-tick.C:
		}
	}
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", socketPath(c.cfg.RunDir))
}

// absent reports whether no process listens.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// closeWith closes the connection when ctx ends; the returned function does so at once.
func closeWith(ctx context.Context, conn net.Conn) func() {
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		release()
		_ = conn.Close()
	}
}

// SpawnConfig says how to start a log process.
type SpawnConfig struct {
	// Args of this program that make it one.
	Args []string
	Env  []string // added to this process's
	// Isolate moves the process out of what ends together with this one, its
	// control group; nil if there is nothing to do.
	Isolate func(pid int) error
	// Stderr takes the process's own log; nil discards it. Not a pipe: whoever
	// reads that would wait for the log process's end.
	Stderr *os.File
}

// Spawn starts this program once more, in a session of its own, so that it
// outlives this process.
func Spawn(cfg SpawnConfig) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, cfg.Args...)
	// One thread is enough for bytes from pipes to files, and costs less memory.
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), cfg.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if cfg.Stderr != nil {
		cmd.Stderr = cfg.Stderr
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie if it ends first
	if cfg.Isolate != nil {
		if err := cfg.Isolate(cmd.Process.Pid); err != nil {
			return fmt.Errorf("isolate log process: %w", err)
		}
	}
	return nil
}
