package consensus

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// idleBeats is how many heartbeats pass between probes that tell nothing new.
const idleBeats = 100

var errStalled = errors.New("this node's disk is stalled: it must not pass for a leader")

// transport is raft's network transport with its own sense of when to speak.
//
// Pipelining is off: a pipeline can wedge a follower for good (hashicorp/raft
// issue 612), and on a LAN it gains nothing.
type transport struct {
	*raft.NetworkTransport
	disk      *disk
	heartbeat time.Duration
	patience  time.Duration // how long a contact counts as recent
	heard     *signal       // after each answer, and when a term ends
	closed    chan struct{}
	sent      atomic.Uint64 // AppendEntries requests
	beaten    func()        // called after each heartbeat of a leader
	leads     atomic.Bool
	raft      atomic.Pointer[raft.Raft] // once there is one

	mu    sync.Mutex
	peers map[raft.ServerID]*peer
}

// peer is what this node, as leader, knows of a follower.
type peer struct {
	contact time.Time // when it last answered
	lost    bool      // the last request failed
	stored  uint64    // the last index that it is known to have
	probe   probe     // the last one that it agreed to
}

// probe is an exchange that carries no entries and shows only where the log
// ends and how far it is committed.
type probe struct{ term, end, commit uint64 }

func newTransport(cfg Config, d *disk, beaten func()) *transport {
	return &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:          &streams{network: cfg.Network, id: cfg.ID, open: map[net.Conn]struct{}{}},
			MaxPool:         2,
			MaxRPCsInFlight: 1,
			Timeout:         cfg.RequestTimeout,
			Logger:          raftLogger{to: cfg.Logger},
		}),
		disk: d, beaten: beaten, heartbeat: cfg.Heartbeat, patience: 2 * cfg.Election, heard: newSignal(),
		closed: make(chan struct{}), peers: map[raft.ServerID]*peer{},
	}
}

// AppendEntries implements raft.Transport. Beside heartbeats, raft sends an
// empty request every few moments, so that a follower learns of a commit soon.
// Here one that would tell the follower nothing new waits until there is
// something to say, or idleBeats have passed. To a follower that is away,
// entries wait for a heartbeat to reach it: raft would wait twice as long after
// each failure, and leave it alone for up to ten seconds after it is back.
//
// Every answer that raft is given is a real one: its lease rests on them.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	p := probe{term: args.Term, end: args.PrevLogEntry, commit: args.LeaderCommitIndex}
	empty := len(args.Entries) == 0
	if beat := empty && p.end == 0 && p.commit == 0; !beat {
		t.awaitContact(id)
		if empty {
			t.hold(id, p)
		}
	}
	if t.disk.stalled() {
		t.wait(t.heartbeat, nil)
		return errStalled
	}
	t.sent.Add(1)
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	t.note(id, args, resp, p, err)
	return err
}

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		handle(rpc)
		t.beaten()
	})
}

// hold waits while a probe has nothing to tell.
func (t *transport) hold(id raft.ServerID, p probe) {
	appended := t.disk.appends.next()
	t.mu.Lock()
	idle := t.peer(id).probe == p
	t.mu.Unlock()
	if idle && t.disk.appended.Load() <= p.end {
		t.wait(idleBeats*t.heartbeat, appended)
	}
}

func (t *transport) wait(d time.Duration, until <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-until:
	case <-t.closed:
	}
}

// awaitContact waits while a follower is away, still a member, and led by this
// node.
func (t *transport) awaitContact(id raft.ServerID) {
	for t.leads.Load() && t.member(id) {
		heard := t.heard.next()
		t.mu.Lock()
		lost := t.peer(id).lost
		t.mu.Unlock()
		if !lost {
			return
		}
		select {
		case <-t.closed:
			return
		default:
			t.wait(4*t.heartbeat, heard)
		}
	}
}

func (t *transport) member(id raft.ServerID) bool {
	r := t.raft.Load()
	if r == nil {
		return true
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.ID == id {
			return true
		}
	}
	return false
}

func (t *transport) note(id raft.ServerID, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, p probe, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.peer(id)
	if known.lost = err != nil; known.lost {
		return
	}
	known.contact = time.Now()
	if resp.Success {
		if n := len(args.Entries); n > 0 {
			known.stored = args.Entries[n-1].Index
		} else if p.end > 0 {
			known.stored, known.probe = p.end, p
		}
	}
	t.heard.give()
}

// peer is called with the lock held.
func (t *transport) peer(id raft.ServerID) *peer {
	if t.peers[id] == nil {
		t.peers[id] = &peer{}
	}
	return t.peers[id]
}

// lead begins or ends a term: what was known of the followers is dropped.
func (t *transport) lead(leads bool) {
	t.mu.Lock()
	clear(t.peers)
	t.mu.Unlock()
	t.leads.Store(leads)
	t.heard.give()
}

// standing tells whether a follower answers and how far it has come.
func (t *transport) standing(id string) (reachable bool, stored uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.peers[raft.ServerID(id)]
	if !ok {
		return false, 0
	}
	return time.Since(p.contact) < t.patience, p.stored
}

// Close implements raft.WithClose: every request fails and every wait ends.
func (t *transport) Close() error {
	t.mu.Lock()
	select {
	case <-t.closed:
	default:
		close(t.closed)
	}
	t.mu.Unlock()
	return t.NetworkTransport.Close()
}

// streams is a Network as raft.StreamLayer: an address is a node's ID. It
// closes its streams with itself, which raft leaves to time-outs.
type streams struct {
	network Network
	id      string

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	conn, err := s.network.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(conn)
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.network.Dial(ctx, string(to))
	if err != nil {
		return nil, err
	}
	return s.track(conn)
}

func (s *streams) track(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	s.open[conn] = struct{}{}
	return &stream{Conn: conn, owner: s}, nil
}

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return nodeAddr(s.id) }

// Close implements net.Listener.
func (s *streams) Close() error {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = nil
	s.mu.Unlock()
	err := s.network.Close()
	for conn := range open {
		_ = conn.Close()
	}
	return err
}

// stream is one that its owner closes if nobody else did.
type stream struct {
	net.Conn
	owner *streams
}

func (s *stream) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s.Conn)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}

// nodeAddr is a node's ID as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return "node" }
func (a nodeAddr) String() string { return string(a) }
