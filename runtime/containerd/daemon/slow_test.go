package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestATaskOutlivesADaemonThatFindsItsShimSlow: on a board that has too much to
// do, a shim may take longer to answer than containerd waits by itself.
func TestATaskOutlivesADaemonThatFindsItsShimSlow(t *testing.T) {
	cfg := place(t)
	d, _ := begin(t, cfg)
	first := up(t, d)
	namespace := filepath.Base(filepath.Dir(cfg.Dir))
	ctr := func(args ...string) (string, error) {
		args = append([]string{"--address", cfg.Socket(), "--namespace", namespace}, args...)
		out, err := exec.Command("ctr", args...).CombinedOutput()
		return string(out), err
	}
	root := filepath.Join(cfg.Root, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link("/bin/busybox", filepath.Join(root, "bin/busybox")); err != nil {
		out, err := exec.Command("cp", "/bin/busybox", filepath.Join(root, "bin/busybox")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if out, err := ctr("run", "--detach", "--rootfs", root, "slow", "/bin/busybox", "sleep", "1000"); err != nil {
		t.Fatalf("run a task: %v: %s", err, out)
	}
	t.Cleanup(func() {
		_, _ = ctr("tasks", "rm", "--force", "slow")
		_, _ = ctr("containers", "rm", "slow")
		_ = os.RemoveAll("/run/containerd/runc/" + namespace) // runc's own notes
	})
	before, err := ctr("tasks", "ls")
	if err != nil || !strings.Contains(before, "RUNNING") {
		t.Fatalf("%v: %s", err, before)
	}
	shim := shimOf(t, cfg)
	signal := func(pid int, s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	signal(shim, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(shim, syscall.SIGCONT) }()
	signal(first, syscall.SIGKILL)
	until(t, "another daemon is there", func() error {
		if pid, err := d.process(t.Context()); pid == 0 || pid == first {
			return fmt.Errorf("process %d, %v", pid, err)
		}
		return nil
	})
	<-time.After(7 * time.Second) // longer than containerd waits by itself
	signal(shim, syscall.SIGCONT)
	until(t, "the task is known to run as before", func() error {
		after, err := ctr("tasks", "ls")
		if err == nil && after != before {
			err = errors.New(after)
		}
		return err
	})
}

// shimOf finds the one shim of a daemon.
func shimOf(t *testing.T, cfg Config) (pid int) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		line, _ := os.ReadFile(path) // it may have ended meanwhile
		if strings.Contains(string(line), "containerd-shim") && strings.Contains(string(line), cfg.Socket()) {
			pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	t.Fatal("no shim runs")
	return 0
}
