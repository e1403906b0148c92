package qemutests

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/edgeswarm/edgeswarm/internal/steer"
	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
	"github.com/edgeswarm/edgeswarm/qemu-tests/ethernet"
	"github.com/edgeswarm/edgeswarm/qemu-tests/router"
)

// Time limits are what slow boards need that boot a slow card, wide enough for
// emulation on a busy machine. What must be fast is measured elsewhere.
const (
	soon    = 1 * time.Minute // what needs no agreement and no time-out
	patient = 3 * time.Minute // what waits for a board to be given up
	booting = 8 * time.Minute // what waits for boards to come up
	rolling = 9 * time.Minute // a rollout in three waves, each with its starts and stops
)

// fleet is boards on a LAN of their own.
type fleet struct {
	t      *testing.T
	dir    string // all that a failing test leaves
	log    *slog.Logger
	lan    *ethernet.Switch
	router *router.Router
	// What all cards of the fleet hold: root's SSH key, and the fleet's.
	key      ssh.Signer
	fleetKey string
	cards    int // made
	boards   []*member
	life     context.Context // of all that runs; a part's test ends before it
}

// member is a board with the name that it has in the fleet.
type member struct {
	*board.Board
	kind     board.Kind
	hostname string
}

// newFleet makes a LAN without boards. All of it goes when the test ends; a test that
// fails leaves a folder.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "edgefleet") // a short path, for sockets
	if err != nil {
		t.Fatal(err)
	}
	events, err := os.Create(filepath.Join(dir, "test.log"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir, fleetKey: newKey(), log: slog.New(slog.NewTextHandler(events, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	f.lan = ethernet.New(ethernet.Config{Seed: *seed, Captures: dir, Subnet: router.Prefix, Log: f.log})
	_, private, err := ed25519.GenerateKey(nil)
	f.do(err)
	f.key, err = ssh.NewSignerFromKey(private)
	f.do(err)

	ctx, cancel := context.WithCancel(context.Background())
	f.life = ctx
	gone := make(chan error, 1)
	t.Cleanup(func() {
		if t.Failed() {
			f.preserve()
		}
		cancel()
		for _, b := range f.boards {
			if err := b.Wait(); err != nil {
				t.Error(err)
			}
		}
		if f.router != nil {
			_ = f.router.Wait()
		}
		if err := errors.Join(<-gone, events.Close()); err != nil {
			t.Error(err)
		}
		if t.Failed() || *keep {
			t.Logf("consoles, captures, logs and cards are in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	port, err := f.lan.Listen("router", filepath.Join(dir, "router.sock"))
	if err != nil {
		gone <- nil
		t.Fatal(err)
	}
	go func() { gone <- port.Run(ctx) }()
	f.router, err = router.Start(ctx, dir, filepath.Join(dir, "router.sock"))
	f.do(err)
	return f
}

// preserve takes down what boards that are up know of themselves, and keeps
// every card.
func (f *fleet) preserve() {
	for _, b := range f.boards {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		if b.Powered() {
			said, err := b.Exec(ctx, nil, "journalctl -b --no-pager; edgectl status; edgectl task ls; edgectl task stats --no-stream; ip addr; ps; df; free; cat /run/log/*.log; find /sys/fs/cgroup/edgeswarm -name '*.current' | xargs head")
			if err != nil {
				said.Err += err.Error()
			}
			_ = os.WriteFile(f.path(b, "state.txt"), []byte(said.Out+said.Err), 0o644)
		}
		cancel()
		if err := b.Card().Export(f.path(b, "card.img")); err != nil {
			f.t.Log(err)
		}
	}
}

func (f *fleet) path(b *member, name string) string { return filepath.Join(f.dir, b.Name(), name) }

// do ends the test if something that the harness did went wrong.
func (f *fleet) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// part runs a part of a test on the same boards; without those before it makes no sense.
func (f *fleet) part(name string, run func(*fleet)) {
	f.t.Helper()
	begun := time.Now()
	if !f.t.Run(name, func(t *testing.T) {
		part := *f
		part.t = t
		run(&part)
		f.boards, f.cards = part.boards, part.cards
	}) {
		f.t.FailNow()
	}
	f.t.Logf("%s: %.0f s", name, time.Since(begun).Seconds())
}

// within is a context for what may take so long.
func (f *fleet) within(limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	f.t.Cleanup(cancel)
	return ctx
}

// until polls until ok, and ends the test with the last reason if it never is.
func (f *fleet) until(what string, limit time.Duration, ok func() error) {
	f.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		f.log.Debug("not yet", "what", what, "err", err)
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

// edgectl is edgectl on a board.
func (f *fleet) edgectl(b *member) steer.Edgectl {
	return steer.Edgectl{Program: filepath.Join(bin(), "edgectl"), Socket: b.Socket()}
}

// must runs edgectl on a board and returns what it printed; a failure ends the
// test.
func (f *fleet) must(b *member, args ...string) string {
	f.t.Helper()
	s := f.edgectl(b).Try(nil, args...)
	if s.Code != 0 {
		f.t.Fatalf("%s: edgectl %s: exit %d: %s%s", b.Name(), strings.Join(args, " "), s.Code, s.Out, s.Err)
	}
	return s.Out
}

// shell runs a command line on a board, and returns what it printed, without
// space around it; a failure ends the test.
func (f *fleet) shell(b *member, command string) string {
	f.t.Helper()
	return strings.TrimSpace(string(f.bytes(b, command)))
}

// bytes is shell for what is no text.
func (f *fleet) bytes(b *member, command string) []byte {
	f.t.Helper()
	said, err := b.Exec(f.within(patient), nil, command)
	f.do(err)
	if said.Code != 0 {
		f.t.Fatalf("%s: %s: exit %d: %s%s", b.Name(), command, said.Code, said.Out, said.Err)
	}
	return []byte(said.Out)
}

// plug adds a board that boots a card; it is off.
func (f *fleet) plug(kind board.Kind, card *disk.Card) *member {
	f.t.Helper()
	n := len(f.boards) + 1
	b, err := board.New(f.life, board.Config{
		Name: fmt.Sprint("board", n), Kind: kind, Dir: filepath.Join(f.dir, fmt.Sprint("board", n)), Card: card,
		LAN: f.lan, Router: f.router, MAC: ethernet.MAC{0x52, 0x54, 0, 0, 0, byte(n)}, Key: f.key, Log: f.log,
		Kernel: f.kernel(kind),
	})
	f.do(err)
	m := &member{Board: b, kind: kind}
	f.boards = append(f.boards, m)
	return m
}

// power powers boards on, at the same moment.
func (f *fleet) power(boards ...*member) {
	f.t.Helper()
	for _, b := range boards {
		f.do(b.Start(f.life, board.Boot{}))
	}
}

// up waits until boards let root in, and learns their names.
func (f *fleet) up(boards ...*member) {
	f.t.Helper()
	for _, b := range boards {
		f.do(b.Login(f.within(booting)))
		b.hostname = f.shell(b, "hostname")
	}
}

// whole waits until each of these boards sees exactly them, all ready, and all the voters that
// there should be.
func (f *fleet) whole(limit time.Duration, boards ...*member) {
	f.t.Helper()
	voters := 1
	if len(boards) >= 3 {
		voters = 3
	}
	for _, b := range boards {
		f.until(fmt.Sprintf("%s sees %d nodes, %d voters", b.Name(), len(boards), voters), limit, func() error {
			nodes, err := f.edgectl(b).Nodes()
			if err != nil {
				return err
			}
			ready, votes, leaders := 0, 0, 0
			for _, n := range nodes {
				if n.Status == "Ready" {
					ready++
				}
				if n.ManagerStatus == "Leader" {
					leaders++
				}
				if n.Voter && (n.ManagerStatus == "Leader" || n.ManagerStatus == "Reachable") {
					votes++
				}
			}
			if len(nodes) != len(boards) || ready != len(boards) || votes != voters || leaders != 1 {
				return fmt.Errorf("node ls: %+v", nodes)
			}
			return nil
		})
	}
}

// leader is the board that leads, as another sees it.
func (f *fleet) leader(asked *member) *member {
	f.t.Helper()
	var lead *member
	f.until("a leader", patient, func() error {
		nodes, err := f.edgectl(asked).Nodes()
		for _, b := range f.boards {
			if nodes[b.hostname].ManagerStatus == "Leader" {
				lead = b
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("none leads: %+v", nodes))
	})
	return lead
}

// others are all boards but those.
func (f *fleet) others(not ...*member) []*member {
	return slices.DeleteFunc(slices.Clone(f.boards), func(b *member) bool { return slices.Contains(not, b) })
}

// runs waits until exactly n tasks of a service run, by the fleet's word, and
// returns them.
func (f *fleet) runs(asked *member, service string, n int) []steer.Task {
	f.t.Helper()
	var running []steer.Task
	f.until(fmt.Sprintf("%s runs %d tasks", service, n), patient, func() error {
		tasks, err := f.edgectl(asked).Tasks(service)
		if err != nil {
			return err
		}
		running, err = steer.Running(tasks, n)
		return err
	})
	return running
}
