// Package machine runs QEMU: a process that ends with its context and with us,
// and the monitor that it is spoken to by. What QEMU is asked to emulate is
// its callers' affair.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// greeting bounds how long QEMU may take to open its monitor, on a busy machine.
const greeting = time.Minute

// Config says what to run.
type Config struct {
	Program string   // "qemu-system-aarch64"
	Args    []string // without the monitor
	Dir     string   // for the monitor's socket, what QEMU says (qemu.log) and its events (events.log)
}

// Process is a QEMU that runs, or ran.
type Process struct {
	cmd     *exec.Cmd
	monitor *monitor
	gone    chan struct{} // closed at its end
	err     error         // why it ended; read after gone
}

// Start starts QEMU. The error has QEMU's own words.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	p, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Program, err)
	}
	return p, nil
}

func start(ctx context.Context, cfg Config) (*Process, error) {
	socket := filepath.Join(cfg.Dir, "monitor")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	said, err := os.OpenFile(filepath.Join(cfg.Dir, "qemu.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	before, err := said.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, cfg.Program, append([]string{
		"-chardev", "socket,id=monitor,server=off,path=" + socket, "-mon", "chardev=monitor,mode=control",
	}, cfg.Args...)...)
	cmd.Stdout, cmd.Stderr = said, said
	ended, err := host.StartBound(cmd)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, gone: make(chan struct{})}
	go func() {
		p.err = <-ended
		close(p.gone)
		_ = l.Close() // it never called
	}()
	if err := l.SetDeadline(time.Now().Add(greeting)); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	conn, err := l.Accept()
	if err == nil {
		p.monitor, err = newMonitor(conn, filepath.Join(cfg.Dir, "events.log"))
	}
	if err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("%w%s", errors.Join(p.err, ctx.Err()), since(said, before))
	}
	return p, nil
}

// since is what was said after a place in the log.
func since(log *os.File, from int64) string {
	raw := make([]byte, 4096)
	n, _ := log.ReadAt(raw, from)
	if text := strings.TrimSpace(string(bytes.TrimSpace(raw[:n]))); text != "" {
		return ": " + text
	}
	return ""
}

// Gone is closed when QEMU has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Kill ends QEMU at once, and waits until it is gone. It may be gone already.
func (p *Process) Kill() error {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // even a stopped one
	<-p.gone
	if p.monitor != nil {
		return p.monitor.Close()
	}
	return nil
}

// Signal sends QEMU a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// PID is QEMU's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Do has the monitor do a command, and puts what it returns into out, unless
// that is nil.
func (p *Process) Do(command string, args map[string]any, out any) error {
	if err := p.monitor.do(command, args, out); err != nil {
		return fmt.Errorf("QEMU's monitor: %s: %w", command, err)
	}
	return nil
}

// Say has QEMU's monitor for people do a command, and returns what it says.
func (p *Process) Say(line string) (string, error) {
	var said string
	err := p.Do("human-monitor-command", map[string]any{"command-line": line}, &said)
	return said, err
}
