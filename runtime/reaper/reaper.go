// Package reaper is the first process of a container that asked for one
// (`--init`): it runs the container's command as its child, passes signals on
// to it, reaps whatever is left to it by others, and ends as the command does.
// The kernel treats a first process unlike any other: signals that it does not
// handle are lost on it, and the orphans of all others become its children.
//
// It keeps no state and reads no configuration; what the command is was
// decided before.
package reaper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes of a shell, for a command that can't be run.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Run runs the command until it ends and returns its exit code: 128 + n if
// signal n ended it. Its own process is to end with that code, which in a
// container ends all others.
func Run(command []string) (code int, err error) {
	if len(command) == 0 {
		return exitNotFound, errors.New("no command to run")
	}
	// In the board's process namespace it is not the first, and orphans would
	// pass it by.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return exitNotExecutable, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	defer signal.Stop(signals)
	pid, err := start(command)
	if err != nil {
		return exitOf(err), err
	}
	debug.FreeOSMemory() // it now waits, maybe for years, on the container's account
	done := make(chan struct{})
	defer close(done)
	go forward(pid, signals, done)
	return reap(pid)
}

func start(command []string) (pid int, err error) {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return 0, err
	}
	attr := &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{}}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		// What is typed at the terminal is for the command alone.
		attr.Sys.Setpgid, attr.Sys.Foreground, attr.Sys.Ctty = true, true, 0
	}
	child, err := os.StartProcess(path, command, attr)
	if err != nil {
		return 0, err
	}
	pid = child.Pid
	return pid, child.Release() // it is waited for with all others
}

func exitOf(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

// forward passes signals on, but for those that concern this process: that a
// child ended, that it may not use the terminal, and what Go sends itself.
func forward(pid int, signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case s := <-signals:
			n, ok := s.(syscall.Signal)
			if !ok || n == unix.SIGCHLD || n == unix.SIGURG || n == unix.SIGTTIN || n == unix.SIGTTOU {
				continue
			}
			_ = unix.Kill(pid, n) // it may have ended just now
		}
	}
}

// reap waits for every child until the one of the command has ended.
func reap(command int) (code int, err error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return exitNotExecutable, fmt.Errorf("wait for the command: %w", err)
		case pid != command:
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}
