package consensus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/consensus/mem"
)

// faulty is a set of disks that can hang or be full.
type faulty struct {
	mu   sync.Mutex
	hung map[string]chan struct{}
	full map[string]string // node -> operations that fail
	seen func(id, op string)
}

func newFaulty() *faulty {
	return &faulty{hung: map[string]chan struct{}{}, full: map[string]string{}}
}

func (d *faulty) tune(c *consensus.Config) {
	id := c.ID
	c.SetFaults(func(op string) error {
		d.mu.Lock()
		hung, full, seen := d.hung[id], d.full[id], d.seen
		d.mu.Unlock()
		if seen != nil {
			seen(id, op)
		}
		if hung != nil {
			<-hung
		}
		if strings.Contains(full, op) {
			return syscall.ENOSPC
		}
		return nil
	})
}

func (d *faulty) hang(id string) (release func()) {
	ch := make(chan struct{})
	d.mu.Lock()
	d.hung[id] = ch
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		delete(d.hung, id)
		d.mu.Unlock()
		close(ch)
	}
}

// see has a function told of every operation.
func (d *faulty) see(f func(id, op string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = f
}

func (d *faulty) fill(id, ops string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full[id] = ops
}

func TestLeaderWhoseDiskHangsLosesLeadership(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		f.found()
		a := f.nodes["a"]
		f.write("before")
		release := disks.hang("a")
		start := time.Now()
		pending := make(chan error, 1)
		go func() {
			_, _, err := a.Propose(context.Background(), []byte("caught in it"))
			pending <- err
		}()
		if err := <-pending; !errors.Is(err, consensus.ErrLeadershipLost) {
			t.Errorf("the proposal that hangs: %v", err)
		}
		t.Logf("the proposer hears of it after %v", time.Since(start))
		f.eventually("a's lead ends", func() bool { return !a.isLeading() })
		if _, _, err := a.Propose(t.Context(), []byte("x")); !errors.Is(err, consensus.ErrBusy) && !errors.Is(err, consensus.ErrNotLeader) {
			t.Errorf("the next proposal: %v", err)
		}
		if !a.Stats().Stalled {
			t.Error("its stats don't say that it is stalled")
		}
		f.write("meanwhile")
		t.Logf("another leads after %v", time.Since(start))
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took %v until another led", took)
		}
		release()
		f.eventually("a follows again", func() bool { return a.machine.has("meanwhile") && !a.Stats().Stalled })
		f.write("after")
		for _, m := range f.nodes {
			f.eventually(m.id+" agrees", func() bool { return slices.Equal(m.machine.all(), f.leader().machine.all()) && m.machine.has("after") })
		}
	})
}

func TestLoneLeaderResumesWhenItsDiskDoes(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		a := f.open("a")
		if err := a.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		f.eventually("a leads", a.isLeading)
		release := disks.hang("a")
		_, _, err := a.Propose(t.Context(), []byte("slow"))
		if !errors.Is(err, consensus.ErrLeadershipLost) {
			t.Errorf("propose: %v", err)
		}
		release()
		f.eventually("a leads again", func() bool { return a.isLeading() && a.began() == 2 })
		if !a.machine.has("slow") {
			t.Error("an entry that reached the disk late is gone")
		}
	})
}

func TestFullDiskOfTheLeader(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		f.found()
		f.write("before")
		for _, m := range f.nodes { // one that has not heard of c's vote would need a's, and a can't store one
			f.eventually(m.id+" knows the others", func() bool { return m.machine.has("before") })
		}
		a := f.nodes["a"]
		disks.fill("a", "append vote")
		_, _, err := a.Propose(t.Context(), []byte("no room"))
		if !errors.Is(err, consensus.ErrLeadershipLost) {
			t.Errorf("propose: %v", err)
		}
		if err := a.Trouble(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("trouble: %v", err)
		}
		f.eventually("another leads", func() bool { l := f.leader(); return l != nil && l.id != "a" })
		f.write("without a")
		time.Sleep(10 * time.Second)
		if f.leader() == nil || f.leader().id == "a" {
			t.Error("the full node disturbs the others")
		}
		disks.fill("a", "")
		f.eventually("a has room again", func() bool { return a.machine.has("without a") })
		if a.machine.has("no room") {
			t.Error("a refused entry came back")
		}
	})
}

// A vote still fits on the disk where an entry no longer does: a node like that
// says so, asks for no votes while others can lead, and leads again once it has room.
func TestANodeWithoutRoomDoesNotStandForLeader(t *testing.T) {
	for seed := range 8 {
		disks := newFaulty()
		bubble(t, disks.tune, func(t *testing.T, f *fleet) {
			f.found()
			a := f.nodes["a"]
			f.write("before")
			time.Sleep(time.Duration(seed) * 37 * time.Millisecond)
			if err := a.Trouble(); err != nil {
				t.Errorf("trouble from the start: %v", err)
			}
			var asLeader atomic.Int32
			disks.see(func(id, op string) {
				if id == "a" && op == "append" && a.Stats().State == "Leader" {
					asLeader.Add(1)
				}
			})
			disks.fill("a", "append room")
			if _, _, err := a.Propose(t.Context(), []byte("no room")); err == nil {
				t.Fatal("written without room")
			}
			f.eventually("another leads", func() bool { l := f.leader(); return l != nil && l.id != "a" })
			if err := a.Trouble(); !errors.Is(err, consensus.ErrUnwritable) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("its trouble: %v", err)
			}
			f.write("without a")
			time.Sleep(time.Minute)
			if n := asLeader.Load(); n != 1 {
				t.Errorf("the full node won %d elections that it had to drop", n-1)
			}
			disks.fill("a", "")
			f.eventually("a has room again", func() bool { return a.Trouble() == nil && a.machine.has("without a") })
			if err := f.leader().Transfer(ctxFor(t, 10*time.Second), "a"); err != nil {
				t.Fatal(err)
			}
			f.eventually("a leads", a.isLeading)
			f.write("by a")
		})
	}
}

// The one voter of a fleet asks nobody for votes: without room it waits rather
// than win and drop one election after the other, each of which is written.
func TestALoneNodeWithoutRoomWaits(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		a := f.open("a")
		if err := a.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		f.eventually("a leads", a.isLeading)
		disks.fill("a", "append room")
		if _, _, err := a.Propose(t.Context(), []byte("no room")); err == nil {
			t.Fatal("written without room")
		}
		time.Sleep(10 * time.Second)
		began, writes, term := a.began(), a.Stats().Writes, a.Stats().Term
		time.Sleep(10 * time.Minute)
		if s := a.Stats(); a.began() != began || s.Writes != writes || s.Term != term {
			t.Errorf("meanwhile %d terms, %d writes, from term %d to %d", a.began()-began, s.Writes-writes, term, s.Term)
		}
		if err := a.Trouble(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("its trouble: %v", err)
		}
		disks.fill("a", "")
		f.eventually("a leads again", func() bool { return a.isLeading() && a.Trouble() == nil })
		f.write("after")
	})
}

// A node that waits for room can still be closed.
func TestANodeWithoutRoomCloses(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		a := f.open("a")
		if err := a.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		f.eventually("a leads", a.isLeading)
		disks.fill("a", "append room")
		if _, _, err := a.Propose(t.Context(), []byte("no room")); err == nil {
			t.Fatal("written without room")
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		if err := f.close("a"); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v to close", took)
		}
	})
}

func TestFullDiskOfAQuorumMends(t *testing.T) {
	disks := newFaulty()
	bubble(t, disks.tune, func(t *testing.T, f *fleet) {
		f.found()
		f.write("before")
		disks.fill("b", "append vote")
		disks.fill("c", "append vote")
		ctx := ctxFor(t, 3*time.Second)
		if _, _, err := f.nodes["a"].Propose(ctx, []byte("x")); err == nil {
			t.Error("written without a quorum")
		}
		disks.fill("b", "")
		disks.fill("c", "")
		f.write("after")
		for _, m := range f.nodes {
			f.eventually(m.id+" has it", func() bool { return m.machine.has("after") })
		}
	})
}

// The child of TestKillLosesNothingAcknowledged: it leads alone, and prints
// each entry once it is acknowledged.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CONSENSUS_TEST_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	machine := &notes{}
	node, err := consensus.Open(consensus.Config{
		ID: "a", Dir: dir, Network: mem.NewHub().Join("a"), Machine: machine,
		Heartbeat: 20 * time.Millisecond, Election: 50 * time.Millisecond, SnapshotBytes: 8 << 10, TrailingEntries: 16,
	})
	if err != nil {
		return err
	}
	if !node.HasState() {
		if err := node.Bootstrap(); err != nil {
			return err
		}
	}
	return node.Run(context.Background(), func(ctx context.Context) error {
		for _, e := range machine.all() {
			fmt.Println("had", e)
		}
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := 0; ; i++ {
					entry := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
					if _, _, err := node.Propose(ctx, []byte(entry)); err != nil {
						return
					}
					fmt.Println("ack", entry)
				}
			})
		}
		all.Wait()
		return ctx.Err()
	})
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	acked := map[string]bool{}
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "CONSENSUS_TEST_CHILD="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before, had, news := maps.Clone(acked), map[string]bool{}, 0
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			kind, entry, ok := strings.Cut(lines.Text(), " ")
			if ok && kind == "had" {
				had[entry] = true
			} else if ok && kind == "ack" {
				acked[entry] = true
				if news++; news == 100+37*round {
					_ = cmd.Process.Kill() // in the middle of others
				}
			}
		}
		_ = cmd.Wait()
		if news < 100 {
			t.Fatalf("round %d: only %d entries", round, news)
		}
		for entry := range before {
			if !had[entry] {
				t.Fatalf("round %d: entry %s was acknowledged and is gone", round, entry)
			}
		}
	}
}
