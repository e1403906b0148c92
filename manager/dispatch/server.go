package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/term"
	"github.com/edgeswarm/edgeswarm/store"
)

// Raft is what is needed of the fleet's log: who takes part, and to let go of one.
type Raft interface {
	Servers() []consensus.Server
	// Remove takes a server out; it returns once that is committed.
	Remove(ctx context.Context, id string) error
	// Transfer hands leadership to a voter, "" to the one furthest ahead.
	Transfer(ctx context.Context, to string) error
}

// Config is all that a Server needs. Every field is required.
type Config struct {
	Self   api.NodeID
	Store  *store.Store
	Writer *store.Writer
	Raft   Raft
	// Caller tells which node a call comes from, by its certificate.
	Caller func(context.Context) (api.NodeID, bool)
	// Clock is the fleet's time on this board.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Server is the leader's end of all sessions, for one term.
type Server struct {
	cfg   Config
	gate  term.Gate
	watch *watch
	news  bell

	mu       sync.Mutex
	sessions map[api.NodeID]*session
	servers  map[api.NodeID]bool
	shared   *roster // of the latest view and servers
}

var _ api.DispatchServer = (*Server)(nil)

// New makes the server of a term that is about to begin.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, watch: newWatch(), sessions: map[api.NodeID]*session{}}
}

// now is this board's monotonic clock.
func (s *Server) now() time.Time { return time.Now() }

// Subscribe returns a channel that receives after something new was heard of
// tasks or nodes, a burst once.
func (s *Server) Subscribe() (<-chan struct{}, func()) { return s.news.Subscribe() }

// Run serves until ctx ends; then it ends all sessions and waits for them.
func (s *Server) Run(ctx context.Context) error {
	s.refreshServers()
	s.watch.silenced(s.cfg.Store.View(), s.now()) // from now on, every node has its grace
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.gate.Run(ctx) })
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.tick(ctx) })
	return g.Wait()
}

// follow tells the sessions of every change of state.
func (s *Server) follow(ctx context.Context) error {
	changed, cancel := s.cfg.Store.Subscribe()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			s.wakeSessions()
		}
	}
}

// ticks between looks at who is silent and who takes part in raft. If one is
// missed by more than stall, this board stood still and has heard nobody.
const (
	tickPeriod = time.Second
	stall      = 2 * time.Second
)

func (s *Server) tick(ctx context.Context) error {
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	for last := s.now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := s.now()
		if late := now.Sub(last); late > tickPeriod+stall {
			s.cfg.Logger.Warn("this board stood still, giving every node its grace anew", "for", late)
			s.watch.regrant(now)
		}
		last = now
		s.MembersChanged()
		v := s.cfg.Store.View()
		s.watch.forget(v)
		if s.watch.silenced(v, now) {
			s.news.Ring()
		}
	}
}

// MembersChanged has the nodes told if raft's configuration is another now. It
// is looked at every so often in any case.
func (s *Server) MembersChanged() {
	if s.refreshServers() {
		s.wakeSessions()
		s.news.Ring()
	}
}

// refreshServers takes over raft's configuration and tells if it changed.
func (s *Server) refreshServers() bool {
	servers := map[api.NodeID]bool{}
	for _, server := range s.cfg.Raft.Servers() {
		servers[api.NodeID(server.ID)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if maps.Equal(servers, s.servers) {
		return false
	}
	s.servers, s.shared = servers, nil
	return true
}

// isManager reports whether a node takes part in raft now.
func (s *Server) isManager(id api.NodeID) bool {
	for _, server := range s.cfg.Raft.Servers() {
		if server.ID == string(id) {
			return true
		}
	}
	return false
}

func (s *Server) wakeSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.sessions {
		ring(session.wake)
	}
}

// roster is the latest one, made once for all sessions.
func (s *Server) roster() *roster {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.cfg.Store.View(); s.shared == nil || s.shared.view.Index != v.Index {
		s.shared = newRoster(v, s.servers, s.watch.status)
	}
	return s.shared
}

// member tells which member of the fleet calls.
func (s *Server) member(ctx context.Context, op string) (*api.Node, error) {
	id, known := s.cfg.Caller(ctx)
	if !known {
		return nil, api.Errorf(api.Denied, op, "the caller has shown no certificate of this fleet")
	}
	node := s.cfg.Store.View().Node(id)
	if node == nil {
		return nil, removed(op, id)
	}
	return node, nil
}

func removed(op string, id api.NodeID) error {
	return api.Errorf(api.Denied, op, "node %s is not a member of this fleet: it was removed, or never joined", id)
}
