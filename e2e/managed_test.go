package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestManagedContainerd: boards with no containerd of their own run tasks all
// the same. The one that edged brings up ends neither with edged nor for good
// when it is killed, and tasks take no notice of either.
func TestManagedContainerd(t *testing.T) {
	t.Parallel()
	f := newLab(t, 2, true, "--containerd", "managed")
	f.do(f.lab.Up(t.Context(), 2))
	f.whole(2)
	f.load(1, "1")
	f.must(1, "service", "create", "--quiet", "--name", "web", "--mode", "global", "--health-cmd", "true", "web:1")
	before := f.allProcesses(1, 2)
	if len(before) != 2 {
		t.Fatalf("%d containers run of 2", len(before))
	}
	f.examined(2, 1)
	daemon := f.pid(2, "containerd")
	apart(f, daemon, f.pid(2, "edged"))

	f.do(f.board(2).Signal(t.Context(), "edged", syscall.SIGKILL))
	f.untouched(before, 1, 2)
	f.do(f.board(2).StartEdged())
	f.whole(2)
	f.untouched(before, 1, 2)
	if now := f.pid(2, "containerd"); now != daemon {
		t.Errorf("containerd was process %d and is %d after a restart of edged", daemon, now)
	}

	f.do(f.board(2).Signal(t.Context(), "containerd", syscall.SIGKILL))
	f.until("containerd is there again", soon, func() error {
		now, err := f.board(2).PID("containerd")
		if err == nil && now == daemon {
			err = errors.New("its note still names the one that was killed")
		}
		return err
	})
	f.until("the board says that it runs tasks again", soon, func() error {
		nodes, err := f.nodes(1)
		if n := nodes["board2"]; err == nil && (n.Status != "Ready" || n.Message != "") {
			err = fmt.Errorf("%+v", n)
		}
		return err
	})
	f.untouched(before, 1, 2)
	f.must(1, "service", "create", "--quiet", "--name", "after", "--constraint", "node.hostname==board2", "web:1")

	f.do(f.board(2).Kill(t.Context()))
	f.do(f.board(2).Start(t.Context()))
	f.whole(2)
	f.until("its tasks run again after a power cut", patient, func() error {
		now, err := f.processes(2)
		if err == nil && len(now) != 2 {
			err = fmt.Errorf("%d containers run of 2", len(now))
		}
		return err
	})
}

// examined asks a board of itself and of another one.
func (f *fleet) examined(board, other int) {
	f.t.Helper()
	for _, who := range []string{"self", f.board(board).Name(), f.board(other).Name()} {
		seen := map[string]string{}
		for line := range strings.Lines(f.must(board, "doctor", who, "--format", "{{.Node}}|{{.Check}}|{{.What}}")) {
			parts := strings.SplitN(strings.TrimSpace(line), "|", 3)
			seen[parts[1]] = parts[2]
			if who != "self" && parts[0] != who {
				f.t.Errorf("doctor %s speaks of %s", who, parts[0])
			}
		}
		if !strings.HasSuffix(seen["containerd"], ", kept by edged") || seen["disk speed"] == "" || seen["memory limits"] == "" || seen["mesh networks"] == "" {
			f.t.Errorf("doctor %s: %v", who, seen)
		}
	}
	if s := f.try(board, "doctor", "board9"); s.Code != 1 || !strings.Contains(s.Err, "knows no node board9") {
		f.t.Errorf("doctor of a board that is none: %d %s", s.Code, s.Err)
	}
}

// pid is a program's process on a board.
func (f *fleet) pid(board int, program string) int {
	f.t.Helper()
	pid, err := f.board(board).PID(program)
	f.do(err)
	return pid
}

// apart fails the test if two processes share a control group, and so could be
// ended together.
func apart(f *fleet, a, b int) {
	f.t.Helper()
	groups := func(pid int) map[string]bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		f.do(err)
		all := map[string]bool{}
		for line := range strings.Lines(string(raw)) {
			if !strings.Contains(line, ":cpuset:") && !strings.HasSuffix(line, ":/\n") {
				all[line] = true
			}
		}
		return all
	}
	theirs := groups(b)
	for line := range groups(a) {
		if theirs[line] {
			f.t.Errorf("processes %d and %d are both in control group %s", a, b, line)
		}
	}
}
