package host

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStartBound: a program that was started bound ends with who started it,
// even if that is killed.
func TestStartBound(t *testing.T) {
	if os.Getenv("BOUND_PARENT") != "" {
		cmd := exec.Command("sleep", "1000")
		if _, err := StartBound(cmd); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(cmd.Process.Pid) + "\n")
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestStartBound$")
	parent.Env = append(os.Environ(), "BOUND_PARENT=1")
	out, err := parent.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the parent was not killed: %v, %s", err, out)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); <-tick.C {
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatal("it outlived its parent")
		}
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

func TestStartBoundTellsTheEnd(t *testing.T) {
	ended, err := StartBound(exec.Command("false"))
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("false ends with %v", err)
	}
	if _, err := StartBound(exec.Command("/nonexistent/program")); err == nil {
		t.Error("a program that is not there was started")
	}
}
