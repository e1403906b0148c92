package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestItTakesLessMemoryThanTheSystems compares with the configuration that the
// distribution's unit starts containerd with, which is none. -v prints the
// figures of docs/benchmarks.md.
func TestItTakesLessMemoryThanTheSystems(t *testing.T) {
	var systems, kept []memory
	for range 3 {
		kept = append(kept, keptMemory(t))
		systems = append(systems, systemsMemory(t))
	}
	theirs, ours := median(systems), median(kept)
	t.Logf("idle, KiB: the system's has %d resident, %d of its own; the one edged keeps %d and %d", theirs.resident, theirs.own, ours.resident, ours.own)
	if ours.own >= theirs.own {
		t.Errorf("%d KiB of its own memory, and the system's has %d", ours.own, theirs.own)
	}
}

// memory is a process's, in KiB: what is resident, and what of it no file backs.
type memory struct{ resident, own int }

func median(all []memory) memory {
	slices.SortFunc(all, func(a, b memory) int { return a.own - b.own })
	return all[len(all)/2]
}

// idle is how long after it answers a daemon is measured.
const idle = 2 * time.Second

func measure(t *testing.T, pid int) (m memory) {
	t.Helper()
	<-time.After(idle) // real processes have no fake clock
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		switch n, _ := strconv.Atoi(f[1]); f[0] {
		case "Rss:":
			m.resident = n
		case "Anonymous:":
			m.own = n
		}
	}
	return m
}

func keptMemory(t *testing.T) memory {
	d, leave := begin(t, place(t))
	pid := up(t, d)
	m := measure(t, pid)
	leave()
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func systemsMemory(t *testing.T) memory {
	t.Helper()
	cfg := place(t)
	dir := filepath.Dir(cfg.Dir)
	file := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\n[grpc]\naddress = %q\n", cfg.Root, filepath.Join(dir, "state"), filepath.Join(dir, "c.sock"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "--config", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	until(t, "the other containerd answers", func() error {
		return exec.Command("ctr", "--address", filepath.Join(dir, "c.sock"), "tasks", "ls").Run()
	})
	return measure(t, cmd.Process.Pid)
}
