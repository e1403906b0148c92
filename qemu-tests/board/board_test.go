package board

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
	"github.com/edgeswarm/edgeswarm/qemu-tests/ethernet"
)

// TestPower is a board with an empty card: its firmware says so on the console,
// as often as it is powered on. What needs a system is tested with the image.
func TestPower(t *testing.T) {
	dir, err := os.MkdirTemp("", "board") // a short path, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	card, err := disk.New(disk.Config{Image: empty, Overlay: filepath.Join(dir, "overlay")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b, err := New(ctx, Config{
		Name: "board1", Kind: Virt, Dir: filepath.Join(dir, "1"), Card: card,
		LAN: ethernet.New(ethernet.Config{}), MAC: ethernet.MAC{2, 0, 0, 0, 0, 1}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	empties := regexp.MustCompile(`(?i)no bootable|failed to load|shell>|not found`)
	for range 2 {
		if err := b.Start(ctx, Boot{Clock: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(ctx, Boot{}); err == nil {
			t.Error("a board that is on is powered on")
		}
		if err := b.SlowCPU(0.9); err != nil {
			t.Error(err)
		}
		console, err := b.Console()
		if err != nil {
			t.Fatal(err)
		}
		limit, done := context.WithTimeout(ctx, 2*time.Minute)
		if _, err := console.Await(limit, empties); err != nil {
			t.Error(err)
		}
		if _, err := console.Await(canceled(), regexp.MustCompile("no firmware says this")); err == nil || !strings.Contains(err.Error(), "last it said") {
			t.Errorf("waiting in vain: %v", err)
		}
		done()
		if err := b.Cable(false); err != nil {
			t.Error(err)
		}
		if err := b.PowerCut(disk.Nothing); err != nil {
			t.Error(err)
		}
		if _, err := b.Console(); err == nil {
			t.Error("a board that is off has a console")
		}
		if err := b.PowerCut(disk.Nothing); err == nil {
			t.Error("a board loses its power twice")
		}
	}
	if said, err := b.Exec(ctx, nil, "true"); err == nil {
		t.Errorf("a board that is off runs programs: %+v", said)
	}
	if err := b.Start(ctx, Boot{}); err != nil {
		t.Error(err)
	}
	cancel()
	if err := b.Wait(); err != nil {
		t.Error(err)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "1", "console.log")); err != nil || len(empties.FindAll(log, -1)) < 2 {
		t.Errorf("the console's log: %q, %v", log, err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestBoardRefuses(t *testing.T) {
	b := &Board{cfg: Config{Name: "board1"}}
	for _, share := range []float64{0, 1, -1, 2} {
		if err := b.SlowCPU(share); err == nil {
			t.Errorf("a CPU runs for %v of its time", share)
		}
	}
	for name, err := range map[string]error{"cable": b.Cable(true), "shut down": b.ShutDown(canceled())} {
		if err == nil || !strings.Contains(err.Error(), "board1 is off") {
			t.Errorf("%s of a board that is off: %v", name, err)
		}
	}
}
