package clustertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/edgeswarm/edgeswarm/api"
	lan "github.com/edgeswarm/edgeswarm/discovery/mem"
	"github.com/edgeswarm/edgeswarm/node"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

// Board is one board of a fleet. Its methods are for the test's own goroutine.
type Board struct {
	Name string
	Addr netip.Addr
	// Containers are what runs on it. They outlive edged, and not the power.
	Containers *sim.Host
	// Config may be changed while the board is off.
	Config node.Config

	output output // what its tasks wrote; it outlives edged, and the power
	fleet  *Fleet
	id     api.NodeID
	dirs   int
	boot   int
	wall   atomic.Int64 // what its wall clock is ahead of the bubble's
	life   *life        // nil while edged does not run
}

// life is one run of edged.
type life struct {
	finder *lan.Finder
	wire   *wire
	calls  *grpc.ClientConn
	cancel context.CancelFunc
	done   chan struct{}
	cut    atomic.Bool // its end is none that edged would know of
}

// Start runs edged on the board, with the state and the tasks that are there.
func (b *Board) Start() {
	b.fleet.t.Helper()
	if b.life != nil {
		b.fleet.t.Fatalf("%s runs already", b.Name)
	}
	f := b.fleet
	packets, err := f.LAN.Host(b.Endpoint())
	if err != nil {
		f.t.Fatal(err)
	}
	local := bufconn.Listen(64 << 10)
	l := &life{finder: f.Air.Join(b.Addr), wire: &wire{addr: b.Addr, changed: make(chan struct{}, 1)}, done: make(chan struct{})}
	cfg := b.Config
	cfg.Name, cfg.StateDir, cfg.RunDir = b.Name, b.stateDir(), filepath.Join(f.dir, b.Name+"-run")
	cfg.BootID = fmt.Sprint("boot", b.boot)
	cfg.Logger = slog.New(f.journal.handler(b.Name))
	board, err := node.New(cfg, node.Parts{
		Packets: packets, Local: local, Finder: l.finder, Driver: b.Containers.Open(),
		Images:  func(node.Neighbourhood) node.Images { return images{} },
		Network: network{}, Logs: &b.output, Interfaces: l.wire, Platform: Platform,
		Resources: api.Resources{NanoCPUs: 4e9, MemoryBytes: 1 << 30},
		Wall:      func() time.Time { return time.Now().Add(time.Duration(b.wall.Load())) },
	})
	if err != nil {
		f.t.Fatalf("%s does not start: %v", b.Name, err)
	}
	options := append(api.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return local.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if l.calls, err = grpc.NewClient("passthrough:///"+b.Name, options...); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	f.lives.Go(func() {
		defer close(l.done)
		if err := board.Run(ctx); err != nil && !l.cut.Load() && !errors.Is(err, context.Canceled) {
			f.t.Errorf("edged on %s ended: %v", b.Name, err)
		}
	})
	b.life = l
}

// Stop ends edged as a signal does; its tasks go on.
func (b *Board) Stop() {
	b.life.cancel()
	<-b.life.done
	_ = b.life.calls.Close()
	b.life = nil
}

// Kill ends edged at once, as kill -9 does; its tasks go on. The state
// directory is left as it is at a moment between two flushes.
func (b *Board) Kill() {
	b.fleet.t.Helper()
	synctest.Wait()
	l := b.life
	l.cut.Store(true)
	b.fleet.LAN.Crash(b.Endpoint())
	l.finder.Readdress(netip.Addr{}) // without a goodbye
	old := b.stateDir()
	b.dirs++
	if err := os.CopyFS(b.stateDir(), os.DirFS(old)); err != nil {
		b.fleet.t.Fatal(err)
	}
	_ = l.calls.Close()
	l.cancel() // what it still does is seen by nobody
	b.life = nil
}

// Cut takes the power: edged and all tasks are gone at once.
func (b *Board) Cut() {
	b.fleet.t.Helper()
	if b.life != nil {
		b.Kill()
	}
	b.Containers.Reboot()
	b.boot++
}

// Reboot cuts the power and gives it back.
func (b *Board) Reboot() {
	b.fleet.t.Helper()
	b.Cut()
	b.Start()
}

// On reports whether edged runs.
func (b *Board) On() bool { return b.life != nil }

// SetWall makes the board's wall clock say t now.
func (b *Board) SetWall(t time.Time) { b.wall.Store(int64(time.Until(t))) }

// Move gives the running board another address.
func (b *Board) Move(to netip.Addr) {
	b.fleet.t.Helper()
	from := b.Endpoint()
	b.Addr = to
	if err := b.fleet.LAN.Move(from, b.Endpoint()); err != nil {
		b.fleet.t.Fatal(err)
	}
	b.life.wire.move(to)
	b.life.finder.Readdress(to)
}

// ID is the board's node ID, once it has run.
func (b *Board) ID() api.NodeID {
	if b.id == "" {
		if s := b.Status(); s != nil {
			b.id = s.NodeID
		}
	}
	return b.id
}

// Control is the fleet as this board's socket shows it.
func (b *Board) Control() *api.ControlClient { return api.NewControlClient(b.life.calls) }

// Board is what this board's socket tells of itself.
func (b *Board) Board() *api.BoardClient { return api.NewBoardClient(b.life.calls) }

// Status is the board's own account, nil while it gives none.
func (b *Board) Status() *api.BoardStatus {
	if b.life == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := b.Board().GetBoard(ctx)
	if err != nil {
		return nil
	}
	return s
}

// CopyState copies the board's state directory as it is now, and answers where to.
func (b *Board) CopyState() string {
	b.fleet.t.Helper()
	synctest.Wait()
	to := filepath.Join(b.fleet.dir, fmt.Sprintf("%s-copy-%d", b.Name, time.Now().UnixNano()))
	if err := os.CopyFS(to, os.DirFS(b.stateDir())); err != nil {
		b.fleet.t.Fatal(err)
	}
	return to
}

// Endpoint is where the board is reached.
func (b *Board) Endpoint() netip.AddrPort { return netip.AddrPortFrom(b.Addr, api.DefaultPort) }

func (b *Board) stateDir() string {
	return filepath.Join(b.fleet.dir, fmt.Sprintf("%s-%d", b.Name, b.dirs))
}
