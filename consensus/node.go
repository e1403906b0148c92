package consensus

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Node is this manager's share of the log. Its methods may be called from any
// goroutine; Run only once at a time.
type Node struct {
	cfg       Config
	raft      *raft.Raft
	disk      *disk
	snapshots raft.SnapshotStore
	transport *transport
	tempo     *tempo
	machine   *machine

	notices       chan bool // from raft: leadership gained and lost
	observations  chan raft.Observation
	leaderChanged chan struct{}
	turned        *signal // after the tenure, fatal or closing has changed

	mu       sync.Mutex
	tenure   *tenure
	fatal    error
	closing  bool
	inflight int // calls that wait for raft

	background sync.WaitGroup
	down       sync.Once     // shuts raft down
	stopped    chan struct{} // closed once raft has shut down
	closeOnce  sync.Once
	closeErr   error
}

// tenure is one stretch of leading with a disk that works.
type tenure struct{ done chan struct{} }

// Open starts a node on the state in its directory, or on none: it then waits
// for Bootstrap, or for a leader to add it. Errors wrap ErrVersion and
// ErrCorrupt, or say what the disk did; what the machine can't read is
// ErrMachine. The node owns the network and closes it.
func Open(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("open consensus: %w", err)
	}
	if err := openDir(cfg.Dir); err != nil {
		return nil, err
	}
	d, err := openDisk(filepath.Join(cfg.Dir, "raft.db"), cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, disk: d, machine: &machine{Machine: cfg.Machine},
		notices: make(chan bool), observations: make(chan raft.Observation, 16),
		leaderChanged: make(chan struct{}, 1), turned: newSignal(), stopped: make(chan struct{}),
	}
	if err := n.start(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return n, nil
}

func (n *Node) start() error {
	files, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.Dir, 1, raftLogger{to: n.cfg.Logger})
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	var snapshots raft.SnapshotStore = files
	if n.cfg.Seal != nil {
		snapshots = vault{files, n.cfg.Seal}
	}
	n.snapshots = snapshots
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	var index uint64
	if len(list) > 0 {
		index = list[0].Index
	}
	if err := n.disk.verify(index); err != nil {
		return fmt.Errorf("open log in %s: %w: move the state directory away and let this board join its fleet again", n.cfg.Dir, err)
	}
	cache, err := raft.NewLogCache(64, n.disk)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	n.tempo = &tempo{cfg: n.cfg}
	n.transport = newTransport(n.cfg, n.disk, n.tempo.heard)
	n.disk.alone = func() bool { return n.alone() }
	n.raft, err = raft.NewRaft(n.raftConfig(), n.machine, cache, n.disk, snapshots, n.transport)
	if err != nil {
		_ = n.transport.Close()
		return fmt.Errorf("start raft in %s: %w", n.cfg.Dir, errors.Join(n.machine.failed(), err))
	}
	n.tempo.raft.Store(n.raft)
	n.transport.raft.Store(n.raft)
	n.raft.RegisterObserver(raft.NewObserver(n.observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	}))
	n.background.Go(n.watch)
	n.background.Go(n.disk.look)
	n.machine.mu.Lock()
	n.machine.stop = n.fail
	err = n.machine.err
	n.machine.mu.Unlock()
	if err != nil {
		n.fail(err) // it failed before there was anybody to tell
	}
	return nil
}

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.Logger = raftLogger{to: n.cfg.Logger}
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = n.cfg.Election, n.cfg.Election, n.cfg.Election
	c.BatchApplyCh = true
	c.NotifyCh = n.notices
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.SnapshotThreshold, c.TrailingLogs = n.cfg.SnapshotEntries, n.cfg.TrailingEntries
	return c
}

// watch follows raft's leadership and the disk's health until raft is down.
func (n *Node) watch() {
	leads, troubled := false, false
	defer n.tempo.end()
	for {
		select {
		case leads = <-n.notices:
			n.transport.lead(leads)
			n.tempo.lead(leads)
		case <-n.disk.stalls:
			trouble := n.Trouble()
			switch {
			case trouble != nil && !troubled:
				n.cfg.Logger.Error("not leading until the log can be written", "err", trouble)
			case trouble == nil && troubled:
				n.cfg.Logger.Info("log can be written again")
			}
			troubled = trouble != nil
			poke(n.leaderChanged)
		case <-n.observations:
			poke(n.leaderChanged)
			continue
		case <-n.disk.grown:
			n.background.Go(func() { _ = n.raft.Snapshot().Error() }) // raft logs it, and tries again in time
			continue
		case <-n.stopped:
			n.setTenure(false)
			return
		}
		n.setTenure(leads && !n.disk.stalled())
	}
}

func (n *Node) setTenure(leads bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	leads = leads && n.fatal == nil && !n.closing
	switch {
	case leads && n.tenure == nil:
		n.tenure = &tenure{done: make(chan struct{})}
	case !leads && n.tenure != nil:
		close(n.tenure.done)
		n.tenure = nil
	default:
		return
	}
	n.turned.give()
	poke(n.leaderChanged)
}

// fail stops the node for good.
func (n *Node) fail(err error) {
	n.mu.Lock()
	n.fatal = err
	n.mu.Unlock()
	n.cfg.Logger.Error("consensus stopped", "err", err)
	n.turned.give()
	n.setTenure(false)
	n.background.Go(n.shutdown)
}

// shutdown ends raft once nobody waits for it: it leaves some of those who do
// without an answer.
func (n *Node) shutdown() {
	n.down.Do(func() {
		defer close(n.stopped)
		n.disk.closing()
		deadline := time.NewTimer(4 * n.cfg.Election)
		defer deadline.Stop()
		for waiting := true; waiting; {
			turned := n.turned.next()
			n.mu.Lock()
			waiting = n.inflight > 0
			n.mu.Unlock()
			if !waiting {
				break
			}
			select {
			case <-turned:
			case <-deadline.C:
				waiting = false
			}
		}
		down := n.raft.Shutdown()
		_ = n.transport.Close() // or raft waits for those who don't answer
		_ = down.Error()
	})
}

// Close ends the node, after handing leadership over if it can. End Run first,
// so that what it leads has ended before another takes over. It waits for a
// write that is under way, however long the disk takes.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		if n.raft.State() == raft.Leader && !n.disk.stalled() && len(voters(n.raft)) > 1 {
			_ = n.raft.LeadershipTransfer().Error() // else the others find out by themselves
		}
		n.mu.Lock()
		n.closing = true
		n.mu.Unlock()
		n.turned.give()
		n.setTenure(false)
		n.shutdown()
		<-n.stopped
		n.background.Wait()
		n.closeErr = n.disk.close()
	})
	return n.closeErr
}

// voters are the IDs of those who vote, in order.
func voters(r *raft.Raft) []string {
	var ids []string
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	slices.Sort(ids)
	return ids
}

// HasState reports whether the node was ever part of a fleet's log.
func (n *Node) HasState() bool {
	has, err := raft.HasExistingState(n.disk, n.disk, n.snapshots)
	return has || err != nil
}

// Bootstrap founds a log with this node as its one voter. ErrHasState if there
// is one already.
func (n *Node) Bootstrap() error {
	if n.HasState() {
		return fmt.Errorf("found a log in %s: %w", n.cfg.Dir, ErrHasState)
	}
	err := n.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(n.cfg.ID), Address: raft.ServerAddress(n.cfg.ID),
	}}}).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		err = ErrHasState
	}
	if err != nil {
		return fmt.Errorf("found a log in %s: %w", n.cfg.Dir, err)
	}
	n.tempo.found()
	return nil
}

// Leader names the leader as far as this node knows; "" if it knows of none.
func (n *Node) Leader() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// LeaderChanged receives after Leader, Trouble, or whether this node leads, may
// have changed; a burst is one receipt. It is one channel, for one receiver.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leaderChanged }

// Stats is how a node is doing.
type Stats struct {
	State   string // "Leader", "Follower", "Candidate" or "Shutdown"
	Term    uint64
	Last    uint64 // index of the last entry stored
	Commit  uint64 // index up to which entries are committed
	Applied uint64 // index up to which the machine has taken them
	// Writes counts transactions on the log's file since Open.
	Writes   uint64
	FileSize int64 // bytes
	Stalled  bool  // a write is overdue
	// Requests counts what was sent to followers since Open, heartbeats included.
	Requests uint64
}

// Stats reads the node's counters.
func (n *Node) Stats() Stats {
	return Stats{
		State: n.raft.State().String(), Term: n.raft.CurrentTerm(), Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(),
		Applied: n.raft.AppliedIndex(), Writes: n.disk.writes.Load(), FileSize: n.disk.size(), Stalled: n.disk.stalled(),
		Requests: n.transport.sent.Load(),
	}
}
