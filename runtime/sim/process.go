package sim

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// process is a container's process. It is guarded by Host.mu and moved on by
// timers rather than by a goroutine of its own.
type process struct {
	host      *Host
	container *container
	pid       int
	machine   machine
	steps     []string
	traps     map[int]int // signal -> exit code, or ignored
	linger    time.Duration
	timer     *time.Timer
	streams   []io.Closer

	started time.Time

	exit  *runtime.Exit
	ended chan struct{} // closed behind exit
	lost  chan struct{} // closed by a reboot: there will be no exit
}

// launch starts a container's process; mu is held.
func (h *Host) launch(c *container) error {
	steps := c.script.Program
	if steps == nil {
		steps = program(slices.Concat(c.Spec.Command, c.Spec.Args))
	}
	h.pids++
	p := &process{
		host: h, container: c, pid: h.pids, steps: steps, traps: map[int]int{}, started: time.Now(),
		ended: make(chan struct{}), lost: make(chan struct{}),
	}
	p.machine = c.machine()
	p.machine.trap = func(signal string, code int) { p.traps[signals[signal]] = code }
	p.machine.linger = func(d time.Duration) { p.linger = d }
	for _, s := range []struct {
		path string
		to   *io.Writer
	}{{c.Stdout, &p.machine.stdout}, {c.Stderr, &p.machine.stderr}} {
		if s.path == "" {
			continue
		}
		// For reading too, as a container's shim does: its end is not the
		// FIFO's, and no open waits for the other side.
		file, err := os.OpenFile(s.path, os.O_RDWR, 0)
		if err != nil {
			p.closeStreams()
			return fmt.Errorf("open output: %w", err)
		}
		*s.to = file
		p.streams = append(p.streams, file)
	}
	c.process = p
	h.log(OpStart, c)
	p.advance()
	return nil
}

// machine is the container as its processes see it.
func (c *container) machine() machine {
	return machine{
		hostname: c.Hostname, env: c.Spec.Env, mounts: c.Mounts, files: &c.files,
		stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard,
		trap: func(string, int) {}, linger: func(time.Duration) {},
	}
}

// advance takes steps until one waits; mu is held.
func (p *process) advance() {
	for p.exit == nil {
		if len(p.steps) == 0 {
			p.end(0)
			return
		}
		step := p.steps[0]
		p.steps = p.steps[1:]
		pause, code, ended := p.machine.step(step)
		switch {
		case ended:
			p.end(code)
		case pause == forever:
			return
		case pause > 0:
			p.after(pause, p.advance)
			return
		}
	}
}

// after calls f with mu held, unless the process has ended by then.
func (p *process) after(d time.Duration, f func()) {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(d, func() {
		p.host.mu.Lock()
		defer p.host.mu.Unlock()
		if p.exit == nil && !p.gone() {
			f()
		}
	})
}

// signal delivers one; mu is held.
func (p *process) signal(n int) {
	if p.exit != nil || p.gone() {
		return
	}
	code, trapped := p.traps[n]
	switch {
	case n == sigkill:
		p.end(128 + sigkill)
	case code == ignored:
	case !trapped:
		code = 128 + n
		fallthrough
	default:
		if p.linger > 0 {
			p.after(p.linger, func() { p.end(code) })
			return
		}
		p.end(code)
	}
}

// end is how the process ends; mu is held.
func (p *process) end(code int) {
	if p.exit != nil {
		return
	}
	p.stopTimer()
	p.exit = &runtime.Exit{Code: code, At: time.Now()}
	p.host.log(OpEnd, p.container)
	close(p.ended)
	p.closeStreams()
}

// abandon ends the process without an exit; mu is held.
func (p *process) abandon() {
	if p.exit == nil && !p.gone() {
		p.stopTimer()
		p.closeStreams()
		close(p.lost)
	}
}

func (p *process) gone() bool {
	select {
	case <-p.lost:
		return true
	default:
		return false
	}
}

func (p *process) stopTimer() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (p *process) closeStreams() {
	for _, s := range p.streams {
		s.Close() // a FIFO that nobody has read is not an error of the process
	}
}

// Exec implements runtime.Driver.
func (d *Driver) Exec(ctx context.Context, id string, proc runtime.Process, streams runtime.Streams) (int, error) {
	c, unlock, err := d.open(ctx, "exec in", id)
	if err != nil {
		return 0, err
	}
	state, p, m, outage := c.state(), c.process, c.machine(), d.host.outage
	if state != runtime.Running {
		unlock()
		return 0, fmt.Errorf("exec in %s: %w", id, runtime.ErrNotRunning)
	}
	d.host.log(OpExec, c)
	unlock()
	defer func() {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		d.host.log(OpExecEnd, c)
	}()
	m.env = slices.Concat(proc.Env, m.env)
	if streams.Stdin != nil {
		m.stdin = streams.Stdin
	}
	if streams.Stdout != nil {
		m.stdout = streams.Stdout
	}
	if streams.Stderr != nil {
		m.stderr = streams.Stderr
	}
	for _, step := range program(proc.Args) {
		pause, code, ended := m.step(step)
		if ended {
			return code, nil
		}
		if pause == 0 {
			continue
		}
		var elapsed <-chan time.Time
		if pause > 0 {
			timer := time.NewTimer(pause)
			defer timer.Stop()
			elapsed = timer.C
		}
		select {
		case <-elapsed:
		case <-p.ended:
			return 128 + sigkill, nil
		case <-p.lost:
			return 0, fmt.Errorf("exec in %s: %w", id, runtime.ErrUnavailable)
		case <-outage:
			return 0, fmt.Errorf("exec in %s: %w", id, runtime.ErrUnavailable)
		case <-ctx.Done():
			return 0, fmt.Errorf("exec in %s: %w", id, ctx.Err())
		}
	}
	return 0, nil
}

// Healthcheck implements runtime.Driver.
func (d *Driver) Healthcheck(ctx context.Context, id string) (*api.HealthConfig, error) {
	c, unlock, err := d.open(ctx, "read health check of", id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.script.Healthcheck, nil
}

// Usage implements runtime.Driver: a process uses a tenth of a core, and 1 MiB.
func (d *Driver) Usage(ctx context.Context, id string) (api.Usage, error) {
	c, unlock, err := d.open(ctx, "read usage of", id)
	if err != nil {
		return api.Usage{}, err
	}
	defer unlock()
	if c.state() != runtime.Running {
		return api.Usage{}, fmt.Errorf("read usage of %s: %w", id, runtime.ErrNotRunning)
	}
	return api.Usage{
		Up: time.Since(d.host.born), CPU: time.Since(c.process.started) / 10, Memory: 1 << 20, MemoryLimit: c.Limits.MemoryBytes, Pids: 1,
	}, nil
}
