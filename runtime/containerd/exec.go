package containerd

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// drainPatience is how long output may stand still after the process has
// ended: a child that it left behind may hold its output open for ever.
const drainPatience = 2 * time.Second

// startPatience is how long a process may take to start after nobody wants it
// any more: it is waited for, lest it stay behind.
const startPatience = time.Minute

// Exec runs one more process in a running container.
func (d *Driver) Exec(ctx context.Context, id string, p runtime.Process, streams runtime.Streams) (int, error) {
	const op = "exec in container"
	rec, err := d.record(ctx, op, id)
	if err != nil {
		return 0, err
	}
	main, err := d.process(ctx, op, id)
	if err != nil {
		return 0, err
	}
	if main == nil || main.Status != task.Status_RUNNING {
		return 0, fmt.Errorf("%s %s: %w", op, id, runtime.ErrNotRunning)
	}
	spec, err := specOf(rec)
	if err != nil {
		return 0, err
	}
	process, err := execSpec(spec.Process, p, int(main.Pid))
	if err != nil {
		return 0, err
	}
	e := &execution{d: d, op: op + " " + id, container: id, id: "exec-" + api.NewID[string](), started: make(chan struct{})}
	code, err := e.run(ctx, process, streams)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", e.op, ctx.Err())
	}
	return code, err
}

// execSpec is the container's process with what Exec asks for instead.
func execSpec(base *specs.Process, p runtime.Process, pid int) (*specs.Process, error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return nil, failuref(runtime.ErrInvalid, "no command to execute")
	}
	process := *base
	process.Args, process.Terminal = p.Args, p.TTY
	process.Env = overlayEnv(base.Env, p.Env)
	if p.TTY {
		process.Env = overlayEnv([]string{"TERM=xterm"}, process.Env)
	}
	process.Cwd = firstOf(p.Dir, base.Cwd)
	if !filepath.IsAbs(process.Cwd) {
		return nil, failuref(runtime.ErrInvalid, "working directory %q is not an absolute path", process.Cwd)
	}
	if p.User != "" {
		id, err := lookUp(filepath.Join("/proc", strconv.Itoa(pid), "root"), p.User, nil)
		if err != nil {
			return nil, err
		}
		process.Env = overlayEnv(process.Env, []string{"HOME=" + id.home})
		runAs(&process, id.user, base.Capabilities.Bounding)
	}
	return &process, nil
}

// execution is one exec under way.
type execution struct {
	d                 *Driver
	op, container, id string
	started           chan struct{}
}

func (e *execution) run(ctx context.Context, process *specs.Process, streams runtime.Streams) (code int, err error) {
	// The process must not outlive the call, so neither do its pipes.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &gauge{}
	stdio, err := e.open(ctx, process.Terminal, streams, out)
	if err != nil {
		return 0, fmt.Errorf("%s: open streams: %w", e.op, err)
	}
	defer stdio.Close()
	defer stdio.Cancel()

	raw, err := typeurl.MarshalAnyToProto(process)
	if err != nil {
		return 0, fmt.Errorf("%s: encode process: %w", e.op, err)
	}
	beginning, begun := started(ctx)
	defer begun()
	paths := stdio.Config()
	_, err = e.d.tasks.Exec(beginning, &tasks.ExecProcessRequest{
		ContainerID: e.container, ExecID: e.id, Spec: raw,
		Terminal: paths.Terminal, Stdin: paths.Stdin, Stdout: paths.Stdout, Stderr: paths.Stderr,
	})
	if err != nil {
		return 0, e.wrap(err)
	}
	running := false
	defer func() {
		undo, done := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
		defer done()
		e.remove(undo, running)
	}()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if _, err := e.d.tasks.Start(beginning, &tasks.StartRequest{ContainerID: e.container, ExecID: e.id}); err != nil {
		running = beginning.Err() != nil // it may be, all the same
		return 0, e.startError(err)
	}
	running = true
	close(e.started)
	if process.Terminal && streams.Resize != nil {
		go e.resize(ctx, streams.Resize)
	}
	r, err := e.d.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: e.container, ExecID: e.id})
	if err != nil {
		return 0, e.wrap(err)
	}
	running = false
	return int(r.ExitStatus), e.drain(ctx, stdio, out)
}

// started is the context of what starts a process. It does not end with ctx, and
// no deadline of it reaches the daemon: the shim would pass that on to runc, which
// when it is killed half-way leaves the process to nobody, with no name to kill
// it by. What started in vain is killed as what ran in vain is.
func started(ctx context.Context) (beginning context.Context, done context.CancelFunc) {
	beginning, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		late := time.NewTimer(startPatience)
		defer late.Stop()
		select {
		case <-late.C:
			cancel()
		case <-beginning.Done():
		}
	})
	return beginning, func() { forget(); cancel() }
}

func (e *execution) open(ctx context.Context, tty bool, s runtime.Streams, out *gauge) (cio.IO, error) {
	stdin := s.Stdin
	// The shim takes no streams at all, but not one output without the other, nor
	// input without either.
	if s.Stdout == nil && (tty || s.Stderr != nil || stdin != nil) {
		s.Stdout = io.Discard
	}
	if s.Stderr == nil && s.Stdout != nil && !tty {
		s.Stderr = io.Discard
	}
	if stdin != nil {
		stdin = &closingReader{Reader: stdin, atEnd: func() { e.closeStdin(ctx) }}
	}
	opts := []cio.Opt{cio.WithFIFODir(filepath.Join(e.d.cfg.RunDir, "exec")), cio.WithStreams(stdin, out.writer(s.Stdout), out.writer(s.Stderr))}
	if tty {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...)(e.id)
}

// closeStdin tells the shim that no input follows: it holds the FIFO open
// itself. Before the process is started there is nothing to tell.
func (e *execution) closeStdin(ctx context.Context) {
	select {
	case <-e.started:
	case <-ctx.Done():
		return
	}
	_, err := e.d.tasks.CloseIO(ctx, &tasks.CloseIORequest{ContainerID: e.container, ExecID: e.id, Stdin: true})
	if err != nil && !isDone(err) && ctx.Err() == nil {
		e.d.log.Warn("input of an exec can't be closed", "container", e.container, "error", err)
	}
}

func (e *execution) resize(ctx context.Context, sizes <-chan api.TerminalSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			_, _ = e.d.tasks.ResizePty(ctx, &tasks.ResizePtyRequest{ // a terminal of the wrong size still works
				ContainerID: e.container, ExecID: e.id, Width: uint32(size.Width), Height: uint32(size.Height),
			})
		}
	}
}

// drain waits until all output has been passed on, or stands still while the
// reader is not the one who keeps it.
func (e *execution) drain(ctx context.Context, stdio cio.IO, out *gauge) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		stdio.Wait()
	}()
	tick := time.NewTicker(drainPatience / 4)
	defer tick.Stop()
	for {
		select {
		case <-drained:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", e.op, ctx.Err())
		case <-tick.C:
			if out.still() >= drainPatience {
				return nil
			}
		}
	}
}

// remove deletes the process; one that still runs is killed first.
func (e *execution) remove(ctx context.Context, kill bool) {
	if kill {
		_, _ = e.d.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: e.container, ExecID: e.id, Signal: uint32(unix.SIGKILL)})
		_, _ = e.d.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: e.container, ExecID: e.id})
	}
	_, err := e.d.tasks.DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: e.container, ExecID: e.id})
	if err != nil && !errdefs.IsNotFound(native(err)) {
		e.d.log.Warn("process of an exec stays behind", "container", e.container, "error", err)
	}
}

func (e *execution) wrap(err error) error {
	if errdefs.IsNotFound(native(err)) {
		return fmt.Errorf("%s: %w", e.op, runtime.ErrNotRunning) // it ended meanwhile
	}
	return e.d.wrap(e.op, err)
}

// startError words a command that can't be executed without blaming the container.
func (e *execution) startError(err error) error {
	if cause, ok := neverStarts(err); ok {
		return failuref(runtime.ErrInvalid, "%s: %s", e.op, cause)
	}
	return e.wrap(err)
}

// closingReader calls atEnd once its input is at its end.
type closingReader struct {
	io.Reader
	once  sync.Once
	atEnd func()
}

func (r *closingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		r.once.Do(r.atEnd) // our own end of the FIFO stays open for what was just read
	}
	return n, err
}

// gauge tells how long no output came while none was being written.
type gauge struct {
	mu      sync.Mutex
	writing int
	last    time.Time
}

func (g *gauge) writer(w io.Writer) io.Writer {
	if w == nil {
		return nil // the shim discards it
	}
	return writerFunc(func(p []byte) (int, error) {
		g.change(1)
		defer g.change(-1)
		return w.Write(p)
	})
}

func (g *gauge) change(by int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing += by
	g.last = time.Now()
}

// still is 0 while output is being written; the first call starts the clock.
func (g *gauge) still() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing > 0 {
		return 0
	}
	if g.last.IsZero() {
		g.last = time.Now()
	}
	return time.Since(g.last)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
