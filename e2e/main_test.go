package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/internal/lab"
)

// labPrefix begins the name of every lab of these tests; the process ID and a
// letter follow, so that runs on one machine stay apart.
const labPrefix = "edgee2e"

// bin is the folder of edged, edgectl, edge-wireguard and webd.
var bin string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("run these tests as root: they make network namespaces and run containers")
	}
	if err := sweep(); err != nil {
		return 0, fmt.Errorf("sweep up interrupted runs: %w", err)
	}
	if bin = os.Getenv("EDGE_TEST_BIN"); bin == "" {
		dir, err := os.MkdirTemp("", labPrefix)
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if err := build(dir); err != nil {
			return 0, err
		}
		bin = dir
	}
	return m.Run(), nil
}

// build makes the programs as a release has them.
func build(dir string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace,nethttpomithttp2", "-o", dir+"/", "./cmd/edged", "./cmd/edgectl", "./cmd/edge-wireguard", "./internal/lab/webd")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// sweep takes down the labs of runs that were interrupted: those whose process
// is gone.
func sweep() error {
	names := map[string]bool{}
	for _, pattern := range []string{"/run/netns/" + labPrefix + "*-*", "/run/" + labPrefix + "*", "/var/lib/" + labPrefix + "*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			name, _, _ := strings.Cut(filepath.Base(path), "-")
			names[name] = true
		}
	}
	for name := range names {
		pid, err := strconv.Atoi(strings.TrimRight(strings.TrimPrefix(name, labPrefix), "abcdefghijklmnopqrstuvwxyz"))
		if err != nil || atWork(pid) {
			continue
		}
		l, err := lab.New(lab.Config{Name: name})
		if err != nil {
			return err
		}
		if err := l.Down(context.Background()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// atWork reports whether a process is a run of Go tests; another's may have
// been given the number of one that is gone.
func atWork(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	program, _, _ := strings.Cut(string(raw), "\x00")
	return err == nil && strings.HasSuffix(program, ".test")
}
