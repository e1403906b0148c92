package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// session starts the daemon in a session and a control group of its own. What
// it says goes to a file in memory, begun anew each time; it says little.
type session struct{ dir, cgroup string }

func (s session) pidFile() string { return filepath.Join(s.dir, "pid") }
func (s session) logFile() string { return filepath.Join(s.dir, "log") }

// find reads the process's number and when it began: the number alone may be
// another's by now.
func (s session) find(context.Context) (int, error) {
	raw, err := os.ReadFile(s.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("find containerd: %w", err)
	}
	var pid int
	var began uint64
	if _, err := fmt.Sscan(string(raw), &pid, &began); err != nil {
		return 0, nil // a plug was pulled while it was written
	}
	if now, err := host.ProcessBegan(pid); err != nil || now != began {
		return 0, nil
	}
	return pid, nil
}

func (s session) start(_ context.Context, program string, args []string) (int, error) {
	log, err := os.Create(s.logFile())
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), environment)
	cmd.Stderr, cmd.Dir = log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	began, err := host.ProcessBegan(pid)
	if err == nil && s.cgroup != "" {
		err = host.MoveToCgroup(pid, s.cgroup)
	}
	if err == nil {
		err = host.WriteFile(s.pidFile(), fmt.Appendln(nil, pid, began), 0o600)
	}
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie if it ends first
	return pid, err
}

// last is the last line of its log.
func (s session) last() string {
	raw, _ := os.ReadFile(s.logFile()) // without it there is just less to say
	raw = bytes.TrimSpace(raw)
	return gist(string(raw[bytes.LastIndexByte(raw, '\n')+1:]))
}

// gist cuts a line of the log down to what it says.
func gist(line string) string {
	if _, msg, ok := strings.Cut(line, " msg="); ok {
		line = msg
	}
	return strings.TrimPrefix(line, "containerd: ")
}

// environment lets the daemon collect garbage more often than Go would by
// itself: it does little, and memory is what boards lack.
const environment = "GOGC=30"
