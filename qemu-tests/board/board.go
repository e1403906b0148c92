package board

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
	"github.com/edgeswarm/edgeswarm/qemu-tests/ethernet"
	"github.com/edgeswarm/edgeswarm/qemu-tests/machine"
	"github.com/edgeswarm/edgeswarm/qemu-tests/router"
)

// Config makes a Board.
type Config struct {
	Name   string
	Kind   Kind
	Dir    string // for its console, sockets and QEMU's files; made. Its path is to be short: it holds sockets
	Card   *disk.Card
	LAN    *ethernet.Switch
	Router *router.Router
	MAC    ethernet.MAC
	Memory int // MiB; 0 is 512. A Raspberry Pi 3 has 1024, whatever is asked
	CPUs   int // 0 is 1. A Raspberry Pi 3 has 4
	// Kernel is what boards without firmware are given directly.
	Kernel Kernel
	// Key is root's, of which the card holds the public half.
	Key ssh.Signer
	Log *slog.Logger
}

// Kernel is what firmware would load from a card.
type Kernel struct{ Image, Initrd, DeviceTree, Args string }

// Board is one board. It is off until Start. It is safe for concurrent use.
type Board struct {
	cfg     Config
	port    *ethernet.Port
	running sync.WaitGroup

	mu sync.Mutex
	on *power // nil while it is off
}

// power is what lasts while a board has power.
type power struct {
	ctx     context.Context
	cancel  context.CancelFunc
	qemu    *machine.Process
	console *Console
	card    chan error // what the card's server ended with
	login   login
}

// Boot is how a board is powered on.
type Boot struct {
	// Clock is what its clock chip says; zero is the right time. The machines
	// without such a chip start at their kernel's idea of time anyway.
	Clock time.Time
}

// New plugs a board into the LAN; it works until the context ends.
func New(ctx context.Context, cfg Config) (*Board, error) {
	if cfg.Memory == 0 {
		cfg.Memory = 512
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = 1
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make board %s: %w", cfg.Name, err)
	}
	b := &Board{cfg: cfg}
	var err error
	if b.port, err = cfg.LAN.Listen(cfg.Name, b.path("lan")); err != nil {
		return nil, fmt.Errorf("make board %s: %w", cfg.Name, err)
	}
	edged, err := net.Listen("unix", b.Socket())
	if err != nil {
		return nil, fmt.Errorf("make board %s: %w", cfg.Name, err)
	}
	b.running.Go(func() {
		if err := b.port.Run(ctx); err != nil {
			cfg.Log.Warn("a board's cable broke", "board", cfg.Name, "err", err)
		}
	})
	b.running.Go(func() { b.serveSocket(ctx, edged) })
	return b, nil
}

// Wait returns when nothing of the board runs any more, after its context's
// end. A board that is on loses its power.
func (b *Board) Wait() error {
	var err error
	if b.Powered() {
		err = b.PowerCut(disk.Nothing)
	}
	b.running.Wait()
	return err
}

// Name is the board's in the test, and its port's in the switch.
func (b *Board) Name() string { return b.cfg.Name }

// Card is what it boots from.
func (b *Board) Card() *disk.Card { return b.cfg.Card }

// Socket is a Unix socket of this machine that is the socket of the board's edged.
func (b *Board) Socket() string { return b.path("edged") }

func (b *Board) path(name string) string { return filepath.Join(b.cfg.Dir, name) }

// Start powers the board on. It returns when it has power, long before it is up.
func (b *Board) Start(ctx context.Context, boot Boot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on != nil {
		return fmt.Errorf("power on %s: it is on", b.cfg.Name)
	}
	on, err := b.powerOn(ctx, boot)
	if err != nil {
		return fmt.Errorf("power on %s: %w", b.cfg.Name, err)
	}
	b.on = on
	return nil
}

func (b *Board) powerOn(ctx context.Context, boot Boot) (*power, error) {
	args, err := b.arguments(boot)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(gone(b.path("card")), gone(b.path("console"))); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", b.path("card"))
	if err != nil {
		return nil, err
	}
	on := &power{card: make(chan error, 1)}
	on.ctx, on.cancel = context.WithCancel(ctx)
	go func() { on.card <- disk.Serve(on.ctx, l, b.cfg.Card, b.cfg.Log) }()
	if on.console, err = listenConsole(on.ctx, b.path("console"), b.path("console.log")); err == nil {
		on.qemu, err = machine.Start(on.ctx, machine.Config{Program: b.cfg.Kind.program(), Args: args, Dir: b.cfg.Dir})
	}
	if err != nil {
		on.cancel()
		return nil, errors.Join(err, <-on.card)
	}
	return on, nil
}

// gone removes a file that may be there.
func gone(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// powered returns what the board has while it is on.
func (b *Board) powered() (*power, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on == nil {
		return nil, fmt.Errorf("%s is off", b.cfg.Name)
	}
	return b.on, nil
}

// Powered reports whether the board was started and not turned off since. One that turned itself off counts as on.
func (b *Board) Powered() bool {
	_, err := b.powered()
	return err == nil
}

// PowerCut pulls the plug: all stops at once, and of what was not flushed to the
// card only so much is left.
func (b *Board) PowerCut(s disk.Survive) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.on == nil {
		return fmt.Errorf("cut the power of %s: it is off", b.cfg.Name)
	}
	on := b.on
	b.on = nil
	err := on.qemu.Kill()
	on.cancel() // what QEMU sent last and the card has not read is lost too
	on.login.forget()
	err = errors.Join(err, <-on.card, on.console.wait())
	if err = errors.Join(err, b.cfg.Card.PowerCut(s)); err != nil {
		return fmt.Errorf("cut the power of %s: %w", b.cfg.Name, err)
	}
	return nil
}

// ShutDown has root turn the board off, waits until it has, and takes its power
// away: what it did not flush is lost even now. There is no power button: Debian's
// service for one is not on the card.
func (b *Board) ShutDown(ctx context.Context) error {
	on, err := b.powered()
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	refused := make(chan error, 1)
	go func() { // a board that is gone does not say how the command ended
		if said, err := b.Exec(ctx, nil, "systemctl poweroff --no-block"); err != nil || said.Code != 0 {
			refused <- errors.Join(err, errors.New(said.Err))
		}
	}()
	select {
	case <-on.qemu.Gone():
		return b.PowerCut(disk.Nothing)
	case err := <-refused:
		return fmt.Errorf("shut down %s: %w", b.cfg.Name, err)
	case <-ctx.Done():
		return fmt.Errorf("shut down %s: it is still on: %w", b.cfg.Name, ctx.Err())
	}
}

// Cable pulls the network cable out of the board, or puts it back: unlike in a
// partition, the board notices.
func (b *Board) Cable(in bool) error {
	on, err := b.powered()
	if err == nil {
		err = on.qemu.Do("set_link", map[string]any{"name": netdev, "up": in}, nil)
	}
	if err != nil {
		return fmt.Errorf("the cable of %s: %w", b.cfg.Name, err)
	}
	return nil
}

// slice is how long a slowed CPU runs and stands still together.
const slice = 100 * time.Millisecond

// SlowCPU lets the board run only for a share of the time, until its power
// goes; its clocks run on meanwhile. 0 < share < 1.
func (b *Board) SlowCPU(share float64) error {
	if share <= 0 || share >= 1 {
		return fmt.Errorf("slow %s down to %v: want a share between 0 and 1", b.cfg.Name, share)
	}
	on, err := b.powered()
	if err != nil {
		return fmt.Errorf("slow down: %w", err)
	}
	b.running.Go(func() {
		tick := time.NewTicker(slice)
		defer tick.Stop()
		for {
			select {
			case <-on.ctx.Done():
				return
			case <-on.qemu.Gone():
				return
			case <-tick.C:
			}
			// It may be gone meanwhile, which is not our affair.
			_ = on.qemu.Signal(syscall.SIGSTOP)
			pause := time.NewTimer(time.Duration((1 - share) * float64(slice)))
			select {
			case <-on.ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
			_ = on.qemu.Signal(syscall.SIGCONT)
		}
	})
	return nil
}

// Console is the board's serial console since it was last powered on.
func (b *Board) Console() (*Console, error) {
	on, err := b.powered()
	if err != nil {
		return nil, fmt.Errorf("read its console: %w", err)
	}
	return on.console, nil
}
