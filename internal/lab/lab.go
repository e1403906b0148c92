// Package lab runs a fleet of boards on one Linux machine: each board in its
// own network namespace on one bridged LAN, with its own containerd, its own
// state on disk and its own cgroups. The boards are real in everything but the
// kernel they share.
//
// The LAN itself lives in a namespace too, so its addresses can't collide with
// the machine's own. The package drives `ip`, `nft`, containerd and edged as a
// person would; it knows nothing of what a fleet does.
package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
)

// Config says what lab to make. The zero value of a field means the default
// named with it.
type Config struct {
	// Name sets labs on one machine apart (default "edgelab"): it prefixes
	// namespaces and names the folders /run/NAME and /var/lib/NAME.
	Name string
	// Bin is the folder of edged and edgectl (default "bin").
	Bin string
	// FleetKey is put on every board's card when it is plugged in, as are Args:
	// a handle that was made without them starts the board as it was.
	FleetKey string
	// Args are more arguments for every edged. With `--containerd managed` the
	// lab starts no containerd: edged does.
	Args []string
	// Logger is told of what the lab does.
	Logger *slog.Logger
}

// Lab is a set of boards on one LAN.
type Lab struct {
	cfg Config
}

// New prepares a handle; nothing is started, and a lab that is up under that
// name is found as it is.
func New(cfg Config) (*Lab, error) {
	if cfg.Name == "" {
		cfg.Name = "edgelab"
	}
	if cfg.Bin == "" {
		cfg.Bin = "bin"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	bin, err := filepath.Abs(cfg.Bin)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", cfg.Bin, err)
	}
	cfg.Bin = bin
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab makes network namespaces and runs containers: run it as root")
	}
	return &Lab{cfg}, nil
}

// MaxBoards fit the lab's LAN.
const MaxBoards = 200

// Up makes the LAN and starts n boards, after sweeping away whatever an
// earlier lab of that name left behind. On an error everything is taken down.
func (l *Lab) Up(ctx context.Context, n int) error {
	if n < 1 || n > MaxBoards {
		return fmt.Errorf("a lab has 1 to %d boards, not %d", MaxBoards, n)
	}
	for _, name := range []string{"ip", "nft", "nsenter", "containerd", "runc"} {
		if err := requireProgram(name); err != nil {
			return err
		}
	}
	if err := l.Down(ctx); err != nil {
		return fmt.Errorf("sweep up an earlier lab: %w", err)
	}
	err := l.makeLAN(ctx)
	for i := 1; err == nil && i <= n; i++ {
		err = l.Board(i).Plug(ctx)
	}
	for i := 1; err == nil && i <= n; i++ {
		err = l.Board(i).Start(ctx)
	}
	if err != nil {
		return errors.Join(err, l.Down(context.WithoutCancel(ctx)))
	}
	return nil
}

// Lay makes the LAN and plugs n boards in without power: what an installer
// leaves behind. Start powers one on.
func (l *Lab) Lay(ctx context.Context, n int) error {
	if err := l.Down(ctx); err != nil {
		return fmt.Errorf("sweep up an earlier lab: %w", err)
	}
	err := l.makeLAN(ctx)
	for i := 1; err == nil && i <= n; i++ {
		err = l.Board(i).Plug(ctx)
	}
	return err
}

// Bare is Up with nothing on the boards but their containerd.
func (l *Lab) Bare(ctx context.Context, n int) error {
	if err := l.Down(ctx); err != nil {
		return fmt.Errorf("sweep up an earlier lab: %w", err)
	}
	err := l.makeLAN(ctx)
	for i := 1; err == nil && i <= n; i++ {
		if err = l.Board(i).Plug(ctx); err == nil {
			err = l.Board(i).StartContainerd(ctx)
		}
	}
	return err
}

// Board is the i-th board, from 1, whether it is up or not.
func (l *Lab) Board(i int) Board { return Board{lab: l, Index: i} }

// Boards lists the boards that were plugged in, by index.
func (l *Lab) Boards() ([]Board, error) {
	entries, err := os.ReadDir(l.runDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list boards: %w", err)
	}
	var boards []Board
	for i := 1; i <= MaxBoards && len(boards) < len(entries); i++ {
		if _, err := os.Stat(l.Board(i).RunDir()); err == nil {
			boards = append(boards, l.Board(i))
		}
	}
	return boards, nil
}

func (l *Lab) runDir() string   { return filepath.Join("/run", l.cfg.Name) }
func (l *Lab) stateDir() string { return filepath.Join("/var/lib", l.cfg.Name) }
func (l *Lab) lanNS() string    { return l.cfg.Name + "-lan" }

// Board is one emulated board: a namespace, a containerd and an edged.
type Board struct {
	lab   *Lab
	Index int
}

// Name is the board's hostname.
func (b Board) Name() string { return "board" + strconv.Itoa(b.Index) }

// RunDir holds sockets and pid files; it is in the arguments of the board's edged.
func (b Board) RunDir() string {
	return filepath.Join(b.lab.runDir(), "node"+strconv.Itoa(b.Index))
}

// StateDir is the board's card: it survives Kill and Start.
func (b Board) StateDir() string {
	return filepath.Join(b.lab.stateDir(), "node"+strconv.Itoa(b.Index))
}

// Socket is the board's edged.
func (b Board) Socket() string { return filepath.Join(b.RunDir(), "edged.sock") }

// Containerd is the board's containerd socket.
func (b Board) Containerd() string {
	if b.managed() {
		return filepath.Join(b.RunDir(), "containerd", "containerd.sock")
	}
	return filepath.Join(b.RunDir(), "containerd.sock")
}

// IP is the board's first address on the LAN.
func (b Board) IP() string { return fmt.Sprintf("10.77.0.%d", b.Index) }

func (b Board) netns() string  { return b.lab.cfg.Name + "-" + strconv.Itoa(b.Index) }
func (b Board) cgroup() string { return "/" + b.lab.cfg.Name + "/node" + strconv.Itoa(b.Index) }
