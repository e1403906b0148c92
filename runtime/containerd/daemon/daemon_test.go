package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// place is a daemon's folders; whatever runs there is gone after the test.
func place(t *testing.T) Config {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "edgeswarm-daemon-") // overlayfs wants a real disk
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Root: filepath.Join(dir, "root"), Dir: filepath.Join(dir, "run"), Cgroup: "/" + filepath.Base(dir),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	t.Cleanup(func() {
		if err := New(cfg).Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		groups, _ := filepath.Glob("/sys/fs/cgroup/*" + cfg.Cgroup)
		for _, g := range append(groups, "/sys/fs/cgroup"+cfg.Cgroup) {
			_ = os.Remove(g)
		}
	})
	return cfg
}

// begin runs a keeper; what it returns ends it, and leaves the daemon.
func begin(t *testing.T, cfg Config) (d *Daemon, leave func()) {
	t.Helper()
	d = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	leave = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		done <- nil // it may be called again
	}
	t.Cleanup(leave)
	return d, leave
}

// until polls, for what other processes do.
func until(t *testing.T, what string, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not after 30 s: %s: %v", what, err)
		}
	}
}

// up is the daemon's process once it answers.
func up(t *testing.T, d *Daemon) (pid int) {
	t.Helper()
	until(t, "containerd answers", func() error {
		conn, err := net.Dial("unix", d.cfg.Socket())
		if err != nil {
			return fmt.Errorf("%w (%s)", err, d.Trouble())
		}
		conn.Close()
		if pid, err = d.process(t.Context()); pid == 0 {
			return fmt.Errorf("no process is known: %v", err)
		}
		if trouble := d.Trouble(); trouble != "" {
			return errors.New(trouble)
		}
		return nil
	})
	return pid
}

func TestItOutlivesItsKeeperAndIsTakenOver(t *testing.T) {
	cfg := place(t)
	d, leave := begin(t, cfg)
	first := up(t, d)
	if sid, err := syscall.Getpgid(first); err != nil || sid != first {
		t.Errorf("it is in process group %d, not its own (%v)", sid, err)
	}
	if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", first)); err != nil || !strings.Contains(string(groups), ":"+cfg.Cgroup+"\n") {
		t.Errorf("it is in control groups %s (%v)", groups, err)
	}
	leave()
	d, _ = begin(t, cfg)
	if again := up(t, d); again != first {
		t.Errorf("process %d was started beside %d", again, first)
	}
}

// TestItHasAllThatTasksNeed: what is turned off must not take along what is used.
func TestItHasAllThatTasksNeed(t *testing.T) {
	d, _ := begin(t, place(t))
	up(t, d)
	for _, question := range []string{"tasks ls", "containers ls", "images ls", "content ls", "leases ls", "snapshots --snapshotter overlayfs ls"} {
		args := append([]string{"--address", d.cfg.Socket(), "--namespace", "edgeswarm"}, strings.Fields(question)...)
		if out, err := exec.CommandContext(t.Context(), "ctr", args...).CombinedOutput(); err != nil {
			t.Errorf("ctr %s: %v: %s", question, err, out)
		}
	}
	plugins, err := exec.CommandContext(t.Context(), "ctr", "--address", d.cfg.Socket(), "plugins", "ls").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(plugins)) {
		if f := strings.Fields(line); len(f) > 2 && f[len(f)-1] == "error" || strings.Contains(line, " cri ") {
			t.Errorf("plugins: %s", line)
		}
	}
}

func TestItIsStartedAgainWhenItEnds(t *testing.T) {
	d, _ := begin(t, place(t))
	first := up(t, d)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "another runs", func() error {
		if pid, err := d.process(t.Context()); pid == 0 || pid == first {
			return fmt.Errorf("process %d, %v", pid, err)
		}
		return nil
	})
	up(t, d)
}

// TestItIsKnownHoweverItWasStarted: `edged end-tasks` is run by hand, or by the
// package's removal, where the daemon was started as a unit; and the other way
// round. A second daemon on the same folders would be the end of both.
func TestItIsKnownHoweverItWasStarted(t *testing.T) {
	cfg := place(t)
	d, leave := begin(t, cfg)
	pid := up(t, d)
	leave()
	bin := t.TempDir()
	systemctl := func(mainPID int) {
		script := fmt.Sprintf("#!/bin/sh\necho %d\n", mainPID)
		if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	systemctl(0)
	cfg.Unit = "edged-containerd.service"
	d, leave = begin(t, cfg)
	if again := up(t, d); again != pid {
		t.Errorf("a unit finds process %d, and a session is %d", again, pid)
	}
	leave()
	systemctl(pid)
	if err := os.Remove(session{dir: cfg.Dir}.pidFile()); err != nil {
		t.Fatal(err)
	}
	byHand := Daemon{ways: []launcher{session{dir: cfg.Dir}, unit{cfg.Unit}}, log: cfg.Logger}
	if again, err := byHand.find(t.Context()); again != pid || err != nil {
		t.Errorf("a session finds process %d, and a unit is %d: %v", again, pid, err)
	}
	if err := byHand.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := host.ProcessBegan(pid); err == nil {
		t.Error("it was not stopped")
	}
}

func TestANumberGivenToAnotherProcessIsNotTheDaemon(t *testing.T) {
	cfg := place(t)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	began, err := host.ProcessBegan(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	way := session{dir: cfg.Dir}
	for content, want := range map[string]int{
		fmt.Sprintln(os.Getpid(), began): os.Getpid(), fmt.Sprintln(os.Getpid(), began+1): 0, "": 0, "x": 0, "99999999 1": 0,
	} {
		if err := os.WriteFile(way.pidFile(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid, err := way.find(t.Context()); pid != want || err != nil {
			t.Errorf("%q: found %d, %v", content, pid, err)
		}
	}
	if err := os.Remove(way.pidFile()); err != nil {
		t.Fatal(err)
	}
}

// TestAnUpgradedProgramIsTakenIntoUse: the process that runs a file which is
// there no more is ended, and the new file is started.
func TestAnUpgradedProgramIsTakenIntoUse(t *testing.T) {
	cfg := place(t)
	real, err := exec.LookPath("containerd")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Program = filepath.Join(filepath.Dir(cfg.Dir), "containerd")
	install := func() {
		if err := host.WriteFile(cfg.Program, raw, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install()
	d, leave := begin(t, cfg)
	first := up(t, d)
	leave()
	install()
	d, _ = begin(t, cfg)
	until(t, "the new program runs", func() error {
		pid, err := d.process(t.Context())
		if pid == 0 || pid == first || host.ProgramReplaced(pid) {
			return fmt.Errorf("process %d, %v", pid, err)
		}
		return nil
	})
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	cfg := place(t)
	program := filepath.Join(filepath.Dir(cfg.Dir), "broken")
	for name, c := range map[string]struct{ script, want string }{
		"missing":        {"", "is not installed on this board: install it"},
		"ends":           {"#!/bin/sh\n[ $1 = --version ] || { echo 'containerd: disk quota exceeded' >&2; exit 1; }\n", "containerd ended: disk quota exceeded"},
		"says nothing":   {"#!/bin/sh\nexit 0\n", "ended without a word"},
		"can't be asked": {"#!/bin/sh\nexit 1\n", "ask " + program + " its version"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Program = program
			_ = os.Remove(program)
			if c.script != "" {
				if err := os.WriteFile(program, []byte(c.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			d, leave := begin(t, cfg)
			until(t, c.want, func() error {
				if got := d.Trouble(); !strings.Contains(got, c.want) {
					return errors.New(got)
				}
				return nil
			})
			leave()
		})
	}
}

func TestConfiguration(t *testing.T) {
	for printed, want := range map[string]struct {
		major, format int
	}{
		"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3": {1, 2},
		"containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6":         {1, 2},
		"containerd github.com/containerd/containerd/v2 2.1.4 abcdef":                 {2, 3},
		"containerd github.com/containerd/containerd/v2 v2.0.0 abcdef":                {2, 3},
		"containerd": {1, 2},
		"a b c":      {1, 2},
	} {
		if got := majorOf(printed); got != want.major {
			t.Errorf("%s: version %d", printed, got)
		}
		cfg := Config{Root: "/r", Dir: `/d"x`}
		text := cfg.configuration(majorOf(printed))
		for _, line := range []string{"version = " + strconv.Itoa(want.format) + "\n", `address = "/d\"x/containerd.sock"`, `root = "/r"`, `"io.containerd.grpc.v1.cri"`} {
			if !strings.Contains(text, line) {
				t.Errorf("%s: %s is not in\n%s", printed, line, text)
			}
		}
		if strings.Contains(text, "overlayfs") {
			t.Errorf("the snapshotter that is used is turned off:\n%s", text)
		}
	}
}
