package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// Process carries a link outside of the kernel, and outlives whoever started it.
type Process struct {
	// Program is the path of edge-wireguard, Link what its link is called, Dir
	// where its socket is; a reboot empties that.
	Program, Link, Dir string
	// Cgroup is where it is put, so that it does not end with the control group
	// of whoever starts it.
	Cgroup string
}

const (
	// softMemory is what the process keeps itself within, by collecting garbage
	// sooner; at hardMemory the kernel ends it.
	softMemory = "96MiB"
	hardMemory = 160 << 20
	// readyWithin is how long it may take to begin, endWithin to end.
	readyWithin = 5 * time.Second
	endWithin   = 3 * time.Second
)

// Socket is the process's link.
func (p Process) Socket() Socket { return Socket{filepath.Join(p.Dir, p.Link+".sock")} }

// Find is the process that runs; 0 if none does.
func (p Process) Find() (pid int, err error) {
	conn, err := net.Dial("unix", p.Socket().Path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the WireGuard process: %w", err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("find the WireGuard process: %w", err)
	}
	var peer *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { // of whoever listens there
		peer, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return 0, fmt.Errorf("find the WireGuard process: %w", err)
	}
	return int(peer.Pid), nil
}

// Start starts the process, and returns once its link is there.
func (p Process) Start() (pid int, err error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return 0, fmt.Errorf("start the WireGuard process: %w", err)
	}
	ready, told, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("start the WireGuard process: %w", err)
	}
	defer ready.Close()
	cmd := exec.Command(p.Program, "--link", p.Link, "--socket", p.Socket().Path)
	cmd.Env = append(os.Environ(), "GOMEMLIMIT="+softMemory)
	cmd.ExtraFiles = []*os.File{told} // it says there that it is ready, or why it never will be
	cmd.Stderr, cmd.Dir = os.Stderr, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	told.Close()
	if err != nil {
		return 0, fmt.Errorf("start the WireGuard process: %w", err)
	}
	pid = cmd.Process.Pid
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie if it ends first
	if err := errors.Join(p.confine(pid), await(ready)); err != nil {
		return 0, errors.Join(fmt.Errorf("start the WireGuard process: %w", err), cmd.Process.Kill())
	}
	return pid, nil
}

// confine puts a process where it may use so much memory and no more.
func (p Process) confine(pid int) error {
	if p.Cgroup == "" {
		return nil
	}
	if err := host.MoveToCgroup(pid, p.Cgroup); err != nil {
		return err
	}
	return host.LimitMemory(p.Cgroup, hardMemory)
}

// await reads what a process says of its beginning: "ready".
func await(ready *os.File) error {
	if err := ready.SetReadDeadline(time.Now().Add(readyWithin)); err != nil {
		return err
	}
	said, err := io.ReadAll(ready)
	switch text := strings.TrimSpace(string(said)); {
	case text == "ready":
		return nil
	case text != "":
		return errors.New(text)
	case err != nil:
		return fmt.Errorf("it did not begin within %v: %w", readyWithin, err)
	default:
		return errors.New("it ended without a word")
	}
}

// End ends the process if it runs, and waits until it and its link are gone.
func (p Process) End(ctx context.Context) error {
	pid, err := p.Find()
	if err != nil {
		return err
	}
	if pid != 0 {
		if err := end(ctx, pid); err != nil {
			return fmt.Errorf("end the WireGuard process: %w", err)
		}
	}
	if err := os.RemoveAll(p.Dir); err != nil {
		return fmt.Errorf("end the WireGuard process: %w", err)
	}
	if p.Cgroup != "" {
		host.RemoveCgroup(p.Cgroup)
	}
	return nil
}

func end(ctx context.Context, pid int) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		patient, cancel := context.WithTimeout(ctx, endWithin)
		err := host.AwaitExit(patient, pid)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}
