package machine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bare is QEMU without a machine: it starts in no time.
func bare(t *testing.T, args ...string) Config {
	t.Helper()
	return Config{Program: "qemu-system-aarch64", Dir: t.TempDir(), Args: append([]string{"-M", "none", "-display", "none", "-nodefaults"}, args...)}
}

func TestMonitor(t *testing.T) {
	cfg := bare(t)
	p, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Running bool }
	if err := p.Do("query-status", nil, &status); err != nil || !status.Running {
		t.Errorf("%+v, %v", status, err)
	}
	if err := p.Do("stop", nil, nil); err != nil {
		t.Error(err)
	}
	if said, err := p.Say("info status"); err != nil || !strings.Contains(said, "paused") {
		t.Errorf("%q, %v", said, err)
	}
	if err := p.Do("set_link", map[string]any{"name": "nosuch", "up": false}, nil); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("a command that fails: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if err := p.Do("stop", nil, nil); err == nil {
		t.Error("a QEMU that is gone does commands")
	}
	raw, err := os.ReadFile(filepath.Join(cfg.Dir, "events.log"))
	if err != nil || !strings.Contains(string(raw), `"STOP"`) {
		t.Errorf("the events: %s, %v", raw, err)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	if _, err := Start(t.Context(), bare(t, "-nosuch")); err == nil || !strings.Contains(err.Error(), "-nosuch: invalid option") {
		t.Errorf("a bad option: %v", err)
	}
	if _, err := Start(t.Context(), Config{Program: "qemu-system-nosuch", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("no such program: %v", err)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, bare(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-p.Gone():
	case <-time.After(20 * time.Second):
		t.Error("QEMU outlives its context")
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}
