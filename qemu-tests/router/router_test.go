package router

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"github.com/edgeswarm/edgeswarm/qemu-tests/ethernet"
)

// TestForward: a port of the router is there, the same for the same board. That
// packets pass is what every test with a board shows.
func TestForward(t *testing.T) {
	dir := t.TempDir()
	sw := ethernet.New(ethernet.Config{Log: slog.New(slog.DiscardHandler)})
	port, err := sw.Listen("router", filepath.Join(dir, "router.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := port.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r, err := Start(t.Context(), dir, filepath.Join(dir, "router.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	one, err := r.Forward(netip.MustParseAddrPort("10.0.2.15:22"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.Forward(netip.MustParseAddrPort("10.0.2.16:22"))
	if err != nil || one == two {
		t.Errorf("two boards are at %s and %s: %v", one, two, err)
	}
	if again, err := r.Forward(netip.MustParseAddrPort("10.0.2.15:22")); err != nil || again != one {
		t.Errorf("a board at %s is at %s: %v", one, again, err)
	}
	conn, err := net.Dial("tcp", one)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
