package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	lan "github.com/edgeswarm/edgeswarm/discovery/mem"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/node"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
	wires "github.com/edgeswarm/edgeswarm/transport/mem"
)

// Options of a fleet.
type Options struct {
	// Boards is how many there are; none runs yet.
	Boards int
	// Seed of all faults.
	Seed uint64
	// Script decides what befalls containers; nil runs them.
	Script sim.Config
}

// Fleet is boards on one LAN. Its methods are for the test's own goroutine.
type Fleet struct {
	Boards []*Board
	// LAN carries packets and Air announcements.
	LAN *wires.Network
	Air *lan.LAN
	// Rand is seeded, for what a test draws itself.
	Rand *rand.Rand
	// Key is on every board's card.
	Key string

	t       testing.TB
	dir     string
	journal *journal
	lives   sync.WaitGroup
}

// Built is when the program was built; a bubble begins a day later.
var Built = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)

// New makes boards in the test's bubble. The bubble's end takes them down.
func New(t testing.TB, o Options) *Fleet {
	t.Helper()
	dir, err := os.MkdirTemp(memoryDir(), "clustertest")
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{
		LAN: wires.New(o.Seed), Air: lan.NewLAN(o.Seed), Rand: rand.New(rand.NewPCG(o.Seed, 7)), Key: identity.GenerateFleetKey().Reveal(),
		t: t, dir: dir, journal: &journal{},
	}
	for i := range o.Boards {
		f.Boards = append(f.Boards, &Board{
			Name: fmt.Sprint("board", i+1), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Containers: sim.NewHost(o.Script), fleet: f,
			Config: node.Config{FleetKey: f.Key, BuildTime: Built, Version: "test"},
		})
	}
	t.Cleanup(func() {
		for _, b := range f.Boards {
			if b.life != nil {
				_ = b.life.calls.Close()
				b.life.cancel()
			}
		}
		f.lives.Wait()
		if t.Failed() {
			f.journal.dump(t)
		}
		_ = os.RemoveAll(dir)
	})
	return f
}

// memoryDir is where flushing a file costs nothing, if there is such a place.
func memoryDir() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

// StartAll runs every board.
func (f *Fleet) StartAll() {
	f.t.Helper()
	for _, b := range f.Boards {
		b.Start()
	}
}

// Faults sets what happens to packets and announcements.
func (f *Fleet) Faults(loss float64, delay, jitter time.Duration) {
	f.LAN.SetFaults(wires.Faults{Loss: loss, Delay: max(delay, wires.DefaultDelay), Jitter: jitter})
	f.Air.SetLoss(loss)
	f.Air.SetDelay(max(delay, time.Millisecond), max(delay, time.Millisecond)+jitter)
}

// Partition lets only boards of the same group hear each other; those not
// named are one group more.
func (f *Fleet) Partition(groups ...[]*Board) {
	addrs := make([][]netip.Addr, len(groups))
	for i, g := range groups {
		for _, b := range g {
			addrs[i] = append(addrs[i], b.Addr)
		}
	}
	f.LAN.Partition(addrs...)
	f.Air.Partition(addrs...)
}

// Heal ends all partitions.
func (f *Fleet) Heal() {
	f.LAN.Heal()
	f.Air.Heal()
}

// Pass lets time go by.
func (f *Fleet) Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Within waits until a condition holds, at most for d, and tells how long it
// took. The condition says what is amiss, nil when it holds.
func (f *Fleet) Within(d time.Duration, what string, holds func() error) time.Duration {
	f.t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := holds()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took >= d {
			f.t.Fatalf("not %s within %v: %v", what, d, err)
		}
	}
}

// on are the boards on which edged runs, or those of the given ones.
func on(boards []*Board) []*Board {
	var out []*Board
	for _, b := range boards {
		if b.On() {
			out = append(out, b)
		}
	}
	return out
}

// Leader is the board that leads those given, nil if they don't agree on one.
func (f *Fleet) Leader(boards ...*Board) *Board {
	if len(boards) == 0 {
		boards = f.Boards
	}
	var leader api.NodeID
	for _, b := range on(boards) {
		s := b.Status()
		if s == nil || s.Leader == "" || leader != "" && s.Leader != leader {
			return nil
		}
		leader = s.Leader
	}
	for _, b := range on(boards) {
		if b.ID() == leader {
			return b
		}
	}
	return nil
}

// Term names the present term of leadership as a board sees it; "" while it
// sees none. Two different ones may have the same name for as long as two
// boards believe that they lead.
func (f *Fleet) Term(at *Board) string {
	s := at.Status()
	if s == nil || s.Leader == "" {
		return ""
	}
	f.journal.mu.Lock()
	defer f.journal.mu.Unlock()
	return fmt.Sprint(f.journal.terms, s.Leader)
}

// Others are the running boards but those named.
func (f *Fleet) Others(but ...*Board) []*Board {
	var out []*Board
next:
	for _, b := range on(f.Boards) {
		for _, x := range but {
			if b == x {
				continue next
			}
		}
		out = append(out, b)
	}
	return out
}

// Formed checks that the running boards among those given, or all, are one
// fleet with a leader, all ready and with so many voters.
func (f *Fleet) Formed(voters int, boards ...*Board) func() error {
	return func() error {
		if len(boards) == 0 {
			boards = f.Boards
		}
		running := on(boards)
		var fleet api.FleetID
		for _, b := range running {
			s := b.Status()
			switch {
			case s == nil:
				return fmt.Errorf("%s does not answer", b.Name)
			case s.Membership != api.MembershipMember:
				return fmt.Errorf("%s is no member: %s", b.Name, s.Message)
			case fleet != "" && s.FleetID != fleet:
				return fmt.Errorf("%s is of another fleet", b.Name)
			case s.Leader == "":
				return fmt.Errorf("%s knows no leader: %s", b.Name, s.Message)
			}
			fleet = s.FleetID
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		resp, err := running[0].Control().ListNodes(ctx, &api.ListNodesRequest{})
		if err != nil {
			return err
		}
		state, votes := map[api.NodeID]api.NodeState{}, 0
		for _, n := range resp.Nodes {
			state[n.ID] = n.Status.State
			if n.ManagerStatus != nil && n.ManagerStatus.Voter {
				votes++
			}
		}
		for _, b := range running {
			if state[b.ID()] != api.NodeReady {
				return fmt.Errorf("%s is %q to the leader", b.Name, state[b.ID()])
			}
		}
		if votes != voters {
			return fmt.Errorf("%d voters and not %d", votes, voters)
		}
		return nil
	}
}

// AwaitFormed waits for Formed with as many voters as the running boards allow.
func (f *Fleet) AwaitFormed(d time.Duration) time.Duration {
	f.t.Helper()
	return f.Within(d, "formed", f.Formed(Voters(len(on(f.Boards)))))
}

// Voters is how many a fleet of so many boards has.
func Voters(boards int) int {
	switch {
	case boards < 3:
		return 1
	case boards < 7:
		return 3
	default:
		return 5
	}
}

// Files tells of the boards' state directories what shows that something was
// written: which files there are, how large, and when they were last changed.
func (f *Fleet) Files() string {
	var out strings.Builder
	for _, b := range f.Boards {
		err := filepath.WalkDir(b.stateDir(), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				fmt.Fprintln(&out, path, info.Size(), info.ModTime().UnixNano())
			}
			return err
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return out.String()
}
