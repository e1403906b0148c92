package qemutests

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
)

var (
	core = flag.Bool("qemu", false, "boot emulated boards; without -run, for the core of the tests")
	all  = flag.Bool("qemu.all", false, "all of the tests")
	seed = flag.Uint64("qemu.seed", 1, "decides what is lost by chance")
	keep = flag.Bool("qemu.keep", false, "keep consoles, captures and cards of tests that pass, too")
)

// dist is where `make image` and `make dist` put things.
var dist = func() string {
	abs, err := filepath.Abs("../dist")
	if err != nil {
		panic(err)
	}
	return abs
}()

func TestMain(m *testing.M) {
	flag.Parse()
	if !*core && !*all {
		fmt.Println("qemu-tests: no boards without -qemu: make test-qemu")
		os.Exit(0)
	}
	if run := flag.Lookup("test.run"); !*all && run.Value.String() == "" {
		if err := run.Value.Set("^TestFleet$"); err != nil {
			panic(err)
		}
	}
	if err := complete(); err != nil {
		fmt.Fprintln(os.Stderr, "qemu-tests:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// complete says what is missing for these tests, all at once.
func complete() error {
	var errs []error
	kinds := []board.Kind{board.Virt}
	if *all {
		kinds = append(kinds, board.RaspberryPi3, board.PC)
	}
	for _, k := range kinds {
		if err := k.Available(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, program := range []string{"edgectl", "webd-arm64", "webd-amd64"} {
		if _, err := os.Stat(filepath.Join(bin(), program)); err != nil {
			errs = append(errs, fmt.Errorf("%w: run `make test-qemu`", err))
		}
	}
	return errors.Join(errs...)
}

// bin is the folder of programs that the tests use on this machine.
func bin() string {
	if dir := os.Getenv("EDGE_TEST_BIN"); dir != "" {
		return dir
	}
	return filepath.Join(filepath.Dir(dist), "bin")
}

// run runs a program of this machine, and ends the test if it fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
