package node

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/edgeswarm/edgeswarm/admission"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager"
	"github.com/edgeswarm/edgeswarm/manager/control"
	"github.com/edgeswarm/edgeswarm/store"
	"github.com/edgeswarm/edgeswarm/transport"
)

// raftRoom is the log's folder in the state directory.
const raftRoom = "raft"

// seat is this node's place among the managers: its share of the log, and in
// the terms that it leads, the manager. It is taken and given up as the fleet
// wants it.
type seat struct {
	self     api.NodeID
	dir      *stateDir
	endpoint transport.Endpoint
	compass  *compass
	trust    *trust
	clock    *clock
	seal     cipher.AEAD // for the log: it holds secrets
	images   control.Images
	// folder looks for a fleet that this one should give way to; it is called
	// for each term.
	folder func(fold func(context.Context, api.FleetID) error) (*admission.Folder, bool)
	caller func(context.Context) (api.NodeID, bool)
	logger *slog.Logger

	// wake is called when trouble has changed.
	wake func()

	wanted  chan bool // 1 slot, the latest
	present atomic.Pointer[sitting]
	term    atomic.Pointer[manager.Term]
	trouble atomic.Pointer[string] // why the seat is empty though it is wanted, or can't lead
}

// Trouble is what keeps this node from its part in the fleet's government; ""
// if nothing does.
func (s *seat) Trouble() string {
	if text := s.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// ail says what the trouble is; "" that there is none.
func (s *seat) ail(text string) {
	if s.Trouble() != text {
		s.trouble.Store(&text)
		s.wake()
	}
}

// sitting is a seat while it is taken.
type sitting struct {
	log   *consensus.Node
	store *store.Store
}

// Want says whether the fleet wants this node to take part in the log.
func (s *seat) Want(take bool) {
	for {
		select {
		case s.wanted <- take:
			return
		case <-s.wanted: // an older wish
		}
	}
}

// Run takes and gives up the seat as wanted, until ctx ends. A founder, and a
// node that was in the log when it stopped, takes its seat at once: the others
// count on it.
func (s *seat) Run(ctx context.Context) error {
	founding, err := loadFounding(s.dir)
	if err != nil {
		return err
	}
	taken := founding != nil || s.dir.has(raftRoom)
	for {
		if taken {
			err := s.occupy(ctx)
			if ctx.Err() != nil || err != nil && !unreadable(err) {
				return err
			}
			if err != nil && !s.awaitDismissal(ctx, err) {
				return nil
			}
			if err := s.dir.forget(raftRoom); err != nil {
				return err
			}
		}
		select {
		case taken = <-s.wanted:
		case <-ctx.Done():
			return nil
		}
	}
}

// unreadable tells ends of the seat that the board's tasks need not share: its
// share of the log can't be read, or holds what a newer edged wrote.
func unreadable(err error) bool {
	return errors.Is(err, consensus.ErrCorrupt) || errors.Is(err, consensus.ErrVersion) || errors.Is(err, consensus.ErrMachine)
}

// awaitDismissal leaves the seat empty until the fleet wants this node in the
// log no more. Only then may it begin anew with an empty one: as long as it
// counts as a voter, a log that has forgotten what it promised could elect a
// leader that lacks what was acknowledged. It reports whether ctx lasted.
func (s *seat) awaitDismissal(ctx context.Context, why error) bool {
	text := fmt.Sprintf("this board can't take part in the fleet's log: %v; its tasks go on. On another board run `edgectl node demote` for it, then `edgectl node update --role auto`: it begins the log anew", why)
	s.logger.Error("not among the managers", "err", why)
	s.ail(text)
	defer s.ail("")
	for {
		select {
		case take := <-s.wanted:
			if !take {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// occupy sits until the seat is no longer wanted, or ctx ends.
func (s *seat) occupy(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.sit(ctx) }()
	for {
		select {
		case take := <-s.wanted:
			if !take {
				stop()
				return <-ended
			}
		case err := <-ended:
			if err == nil && ctx.Err() == nil {
				err = errors.New("the fleet's log has ended by itself")
			}
			return err
		}
	}
}

// sit takes part in the log until ctx ends.
func (s *seat) sit(ctx context.Context) (err error) {
	listener, err := s.endpoint.Listen(transport.Raft)
	if err != nil {
		return fmt.Errorf("take part in the log: %w", err)
	}
	state := store.New(store.Config{})
	log, err := consensus.Open(consensus.Config{
		ID: string(s.self), Dir: s.dir.room(raftRoom), Network: raftNetwork{s.endpoint, listener}, Machine: state, Seal: s.seal, Logger: s.logger.With("room", "consensus"),
	})
	if err != nil {
		return errors.Join(fmt.Errorf("take part in the log: %w", err), listener.Close())
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := s.found(log); err != nil {
		return err
	}
	s.present.Store(&sitting{log, state})
	s.trust.Consult(s.rankOf(log, state))
	defer func() {
		s.trust.Consult(nil)
		s.present.Store(nil) // whoever led still leads, as far as is known
	}()
	s.logger.Info("takes part in the fleet's log")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return log.Run(ctx, func(ctx context.Context) error { return s.lead(ctx, log, state) }) })
	g.Go(func() error { return s.follow(ctx, log) })
	return g.Wait()
}

// found begins the log of a fleet that this node has founded.
func (s *seat) found(log *consensus.Node) error {
	if founding, err := loadFounding(s.dir); err != nil || founding == nil {
		return err
	}
	err := log.Bootstrap()
	if errors.Is(err, consensus.ErrHasState) {
		return nil // and the entry is proposed by the first term, if it is not there
	}
	return err
}

// lead is one term.
func (s *seat) lead(ctx context.Context, log *consensus.Node, state *store.Store) error {
	writer := store.NewWriter(state, log, s.clock.Now)
	if err := s.proposeFounding(ctx, writer, state); err != nil {
		return err
	}
	term := manager.New(manager.Config{
		Self: s.self, Store: state, Writer: writer, Raft: log, Images: s.images, Caller: s.caller, Clock: s.clock.Now,
		Logger: s.logger.With("room", "manager"),
	})
	s.term.Store(term)
	defer s.term.Store(nil)
	s.logger.Info("leads the fleet")
	defer s.logger.Info("leads no more")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return term.Run(ctx) })
	g.Go(func() error { return s.fold(ctx, writer, state) })
	return g.Wait()
}

// fold makes an untouched fleet give way to an older one of the same key.
func (s *seat) fold(ctx context.Context, writer *store.Writer, state *store.Store) error {
	folder, ok := s.folder(func(ctx context.Context, into api.FleetID) error {
		_, err := writer.Update(ctx, store.Op{}, func(tx *store.Tx) error {
			cluster := *tx.Cluster()
			cluster.FoldedInto = into
			tx.Put(&cluster)
			return nil
		})
		return err
	})
	if !ok {
		return nil // without a key there is no other of the same key
	}
	return folder.Run(ctx)
}

func (s *seat) proposeFounding(ctx context.Context, writer *store.Writer, state *store.Store) error {
	founding, err := loadFounding(s.dir)
	if err != nil {
		return err
	}
	if state.View().Cluster() == nil {
		if founding == nil {
			return errors.New("the log holds no fleet and this node has not founded one: move the state directory away and let the board join anew")
		}
		_, err := writer.Update(ctx, store.Op{}, func(tx *store.Tx) error {
			tx.Put(founding.Cluster)
			tx.Put(founding.Node)
			return nil
		})
		if err != nil {
			return fmt.Errorf("record the founding: %w", err)
		}
	}
	if founding == nil {
		return nil
	}
	return s.dir.forget(foundingFile)
}

// follow keeps the compass pointed, and says so when the log can't be written.
// A log that has yet to hear of a leader knows less than the node that has just
// been asked to take its seat.
func (s *seat) follow(ctx context.Context, log *consensus.Node) error {
	defer s.ail("")
	for knows := false; ; {
		if leader := api.NodeID(log.Leader()); leader != "" || knows {
			s.compass.Point(leader)
			knows = true
		}
		s.ail(s.cantLead(log.Trouble()))
		select {
		case <-log.LeaderChanged():
		case <-ctx.Done():
			return nil
		}
	}
}

// cantLead puts the log's trouble in words.
func (s *seat) cantLead(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("this board can't lead: %v; make room on the disk of %s; its tasks go on", err, s.dir.path)
}

// rankOf answers from the log and the state who belongs, and who governs. The
// copy of a follower may be behind, so that only the leader's no is sure.
func (s *seat) rankOf(log *consensus.Node, state *store.Store) func(api.NodeID) (rank, bool) {
	return func(id api.NodeID) (rank, bool) {
		leads := s.term.Load() != nil
		switch servers, err := log.Servers(); {
		case err == nil && slices.ContainsFunc(servers, func(s consensus.Server) bool { return s.ID == string(id) }):
			return governor, leads
		case state.View().Node(id) != nil:
			return member, leads
		case leads:
			return gone, true
		default:
			return stranger, false
		}
	}
}

// raftNetwork is how the log reaches other managers.
type raftNetwork struct {
	endpoint transport.Endpoint
	listener transport.Listener
}

func (n raftNetwork) Dial(ctx context.Context, id string) (net.Conn, error) {
	return n.endpoint.Dial(ctx, api.NodeID(id), transport.Raft)
}

func (n raftNetwork) Accept() (net.Conn, error) { return n.listener.Accept() }
func (n raftNetwork) Close() error              { return n.listener.Close() }
