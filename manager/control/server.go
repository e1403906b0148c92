package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/manager/term"
	"github.com/edgeswarm/edgeswarm/store"
)

// Images moves images between boards and registries. Implemented by node.
type Images interface {
	// Replicate makes a node hold all blobs of an image that another holds.
	Replicate(ctx context.Context, image *api.Image, holder, to api.NodeID) error
	// Holds asks a node whether it holds all blobs of an image.
	Holds(ctx context.Context, image *api.Image, node api.NodeID) (bool, error)
	// Pull fetches an image by its full reference from a registry to this
	// board and describes it. It is recorded by who called.
	Pull(ctx context.Context, reference string) (*api.Image, error)
}

// Live is what the leader knows beyond what is stored. Implemented by dispatch.Server.
type Live interface {
	// Status is the latest status of a task.
	Status(*api.Task) api.TaskStatus
	// Subscribe returns a channel that receives after statuses changed.
	Subscribe() (<-chan struct{}, func())
	// Expel takes a node out of raft and of the state.
	Expel(ctx context.Context, op string, how store.Op, id api.NodeID) error
}

// Raft tells who takes part in the log.
type Raft interface {
	Servers() []consensus.Server
}

// Config is all that a Server needs. Every field is required.
type Config struct {
	Self   api.NodeID
	Store  *store.Store
	Writer *store.Writer
	Raft   Raft
	Live   Live
	Images Images
	// Caller tells which node a call comes from: the one that was asked by a
	// user and passed it on.
	Caller func(context.Context) (api.NodeID, bool)
	// Planned is the index of the latest view that the planners have dealt
	// with: what they decided on it is committed.
	Planned func() uint64
	// Clock is the fleet's time on this board.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Server answers for one term.
type Server struct {
	cfg  Config
	gate term.Gate
}

var _ api.ControlServer = (*Server)(nil)

// New makes the server of a term that is about to begin.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// Run answers until ctx ends, then waits for the calls under way.
func (s *Server) Run(ctx context.Context) error { return s.gate.Run(ctx) }

// replayed finds what an earlier try of a request did.
func replayed(v *store.View, request api.RequestID) (key string, done bool) {
	if request == "" {
		return "", false
	}
	record, done := v.Request(request)
	return record.Key, done
}

// write carries out a user's change of one object. A request that was carried
// out before changes nothing again; either way it answers which object it was
// about, and the state with it done.
func (s *Server) write(ctx context.Context, op string, request api.RequestID, change func(*store.Tx) (api.Object, error)) (key string, v *store.View, err error) {
	if err := checkRequest(op, request); err != nil {
		return "", nil, err
	}
	how := store.Op{Request: request, User: true}
	result, err := term.Update(ctx, s.cfg.Writer, how, func(tx *store.Tx) error {
		if err := open(op, tx.View); err != nil {
			return err
		}
		obj, err := change(tx)
		if err != nil {
			return err
		}
		tx.About(obj)
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	return result.Key, s.cfg.Store.View(), nil
}

// maxRequestID is more than any client's way of making IDs takes, in bytes: the
// state remembers them.
const maxRequestID = 64

func checkRequest(op string, request api.RequestID) error {
	if len(request) > maxRequestID {
		return api.Errorf(api.Invalid, op, "request ID: %d bytes are more than the %d that it may have", len(request), maxRequestID)
	}
	return nil
}

// open reports why a fleet takes no writes, nil if it does.
func open(op string, v *store.View) error {
	c := v.Cluster()
	switch {
	case c == nil:
		return api.Errorf(api.Unavailable, op, "the fleet has not been founded yet")
	case c.FoldedInto != "":
		return api.Errorf(api.Conflict, op, "this fleet has given way to fleet %s; ask again once this board has joined it", c.FoldedInto)
	default:
		return nil
	}
}

// outdated refuses a change that was decided on another version than the present one.
func outdated(op, noun, name string, want api.Version, obj api.Object) error {
	if want.Index == 0 || want == obj.Head().Version {
		return nil
	}
	return api.Errorf(api.Conflict, op, "%s %s has changed since version %d (it is at %d); look at it and decide again", noun, name, want.Index, obj.Head().Version.Index)
}
