package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestAwaitExitOfAnotherProcess(t *testing.T) {
	cmd := exec.Command("cat")
	feed, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := AwaitExit(ctx, cmd.Process.Pid); !errors.Is(err, context.Canceled) {
		t.Errorf("it lives, and the wait was given up: %v", err)
	}
	if _, err := ProcessBegan(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() { done <- AwaitExit(t.Context(), cmd.Process.Pid) }()
	feed.Close() // ends it
	if err := <-done; err != nil {
		t.Errorf("its end was not seen: %v", err)
	}
	if _, err := ProcessBegan(cmd.Process.Pid); err == nil {
		t.Error("a process that has ended, and nobody has waited for, counts as alive")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := AwaitExit(t.Context(), cmd.Process.Pid); err != nil {
		t.Errorf("one that is long gone: %v", err)
	}
}

func TestAProcessIsMovedToAControlGroup(t *testing.T) {
	cmd := exec.Command("cat")
	feed, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := "/edgeswarm-host-" + strconv.Itoa(os.Getpid())
	defer func() {
		feed.Close()
		_ = cmd.Wait()
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + group)
		for _, dir := range append(dirs, "/sys/fs/cgroup"+group) {
			_ = os.Remove(dir)
		}
	}()
	for range 2 { // it may be there already
		if err := MoveToCgroup(cmd.Process.Pid, group); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "cgroup"))
	if err != nil || !strings.Contains(string(raw), ":"+group+"\n") {
		t.Errorf("%s, %v", raw, err)
	}
}
