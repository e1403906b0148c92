package reaper

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asReaper makes this test program the reaper of the command in its arguments.
const asReaper = "EDGESWARM_TEST_REAPER"

func TestMain(m *testing.M) {
	if os.Getenv(asReaper) != "" {
		os.Unsetenv(asReaper)
		code, err := Run(os.Args[1:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func reaperOf(t *testing.T, command ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], command...)
	cmd.Env = append(os.Environ(), asReaper+"=1")
	return cmd
}

func shell(t *testing.T, script string) *exec.Cmd { return reaperOf(t, "sh", "-c", script) }

func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestItEndsAsTheCommandDoes(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 42": 42, "kill -KILL $$": 137, "kill -TERM $$": 143} {
		cmd := shell(t, script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := exitCode(t, cmd); got != want {
			t.Errorf("%q: exit code %d, want %d", script, got, want)
		}
	}
}

func TestACommandThatCanNotRun(t *testing.T) {
	for command, want := range map[string]int{"/no/such/program": exitNotFound, "no-such-program": exitNotFound, "/etc/passwd": exitNotExecutable, "/etc": exitNotExecutable} {
		cmd := reaperOf(t, command)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if got := exitCode(t, cmd); got != want || !strings.Contains(said.String(), command) {
			t.Errorf("%s: exit code %d, want %d; it says %q", command, got, want, said.String())
		}
	}
}

// talk starts a command and returns its output, line by line.
func talk(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(out)
}

func want(t *testing.T, out *bufio.Reader, line string) {
	t.Helper()
	if got, err := out.ReadString('\n'); strings.TrimSpace(got) != line {
		t.Fatalf("it says %q, %v; want %q", got, err, line)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	cmd := shell(t, "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
	out := talk(t, cmd)
	want(t, out, "ready")
	for sig, word := range map[syscall.Signal]string{syscall.SIGHUP: "hup", syscall.SIGUSR1: "usr1"} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		want(t, out, word)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd); got != 7 {
		t.Errorf("exit code %d", got)
	}
}

// TestOrphansAreReaped: what a command leaves behind must not stay a zombie,
// and its end is not the command's.
func TestOrphansAreReaped(t *testing.T) {
	// The inner shell ends at once, so its child becomes the reaper's, which
	// reaps it: until then its directory in /proc stays.
	cmd := shell(t, `pid=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); while [ -d /proc/$pid ]; do sleep 0.02; done; echo reaped; exit 3`)
	out := talk(t, cmd)
	want(t, out, "reaped")
	_, _ = io.Copy(io.Discard, out)
	if got := exitCode(t, cmd); got != 3 {
		t.Errorf("exit code %d", got)
	}
}
