package node

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// boardServer answers for this board, over its local socket and to members.
type boardServer struct{ b *Board }

var _ api.BoardServer = boardServer{}

// errNoFleet is what a board without a fleet answers to what needs one.
func errNoFleet(op string) error {
	return api.Errorf(api.Unavailable, op, "this board belongs to no fleet yet: see `edgectl status`, or found one with `edgectl init`")
}

// local refuses a call that did not come over the local socket.
func local(ctx context.Context, op string) error {
	if !rpc.IsLocal(ctx) {
		return api.Errorf(api.Denied, op, "only on the board itself, over its socket")
	}
	return nil
}

// fellow is this board's membership, for a caller that is on the board or is a
// member too.
func (s boardServer) fellow(ctx context.Context, op string) (*membership, error) {
	m := s.b.member.Load()
	if m == nil {
		return nil, errNoFleet(op)
	}
	if peer, remote := rpc.PeerOf(ctx); remote && peer.ID != m.self {
		if member, _ := m.trust.Knows(peer.ID); !member {
			return nil, api.Errorf(api.Denied, op, "node %s is no member of this fleet", peer.ID)
		}
	}
	return m, nil
}

// WhoLeads implements api.BoardServer. One that was admitted a moment ago, and
// that this board has not heard of, is told by the leader itself.
func (s boardServer) WhoLeads(ctx context.Context, _ *api.Empty) (*api.LeaderHint, error) {
	m, err := s.fellow(ctx, "find leader")
	if err != nil {
		return nil, err
	}
	leader, _ := m.compass.Leader()
	return &api.LeaderHint{Leader: leader, Self: m.seat.term.Load() != nil}, nil
}

// GetBoard implements api.BoardServer.
func (s boardServer) GetBoard(ctx context.Context, _ *api.Empty) (*api.BoardStatus, error) {
	if _, remote := rpc.PeerOf(ctx); remote {
		if _, err := s.fellow(ctx, "describe board"); err != nil {
			return nil, err
		}
	}
	return s.b.status(), nil
}

// Init implements api.BoardServer.
func (s boardServer) Init(ctx context.Context, req *api.InitRequest) (*api.InitResponse, error) {
	if err := local(ctx, "init"); err != nil {
		return nil, err
	}
	return s.b.initFleet(ctx, req)
}

// Join implements api.BoardServer.
func (s boardServer) Join(ctx context.Context, req *api.JoinRequest) (*api.Empty, error) {
	if err := local(ctx, "join"); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.b.joinFleet(ctx, req)
}

// Leave implements api.BoardServer.
func (s boardServer) Leave(ctx context.Context, req *api.LeaveRequest) (*api.Empty, error) {
	if err := local(ctx, "leave"); err != nil {
		return nil, err
	}
	return &api.Empty{}, s.b.leaveFleet(ctx, req)
}

// FetchImage implements api.BoardServer.
func (s boardServer) FetchImage(ctx context.Context, req *api.FetchImageRequest) (*api.Empty, error) {
	if _, err := s.fellow(ctx, "fetch image"); err != nil {
		return nil, err
	}
	if req.Image == nil {
		return nil, api.Errorf(api.Invalid, "fetch image", "no image is named")
	}
	if !req.Ask {
		return &api.Empty{}, s.b.images.Fetch(ctx, req.Image, req.Platform, req.From)
	}
	holds, err := s.b.images.Holds(ctx, req.Image)
	if err == nil && !holds {
		err = api.Errorf(api.NotFound, "fetch image", "image %s is not on this board, or not all of it", req.Image.ID)
	}
	return &api.Empty{}, err
}

// LoadImage implements api.BoardServer.
func (s boardServer) LoadImage(stream grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
	m, err := s.fellow(stream.Context(), "load image")
	if err != nil {
		return err
	}
	archive, feed := io.Pipe()
	go func() { // ends with the stream, or when Load has closed the pipe
		for {
			chunk, err := stream.Recv()
			if err == nil {
				_, err = feed.Write(chunk.Data)
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				feed.CloseWithError(err)
				return
			}
		}
	}()
	defer archive.Close()
	m.awaitRuntime(stream.Context())
	images, err := s.b.images.Load(stream.Context(), archive)
	if err != nil {
		return err
	}
	return m.register(stream.Context(), "load image", images, "", stream.Send)
}

// starting is how long an image waits for a container runtime that does not
// answer: on a board that was just powered on it is still on its way.
const starting = 30 * time.Second

// awaitRuntime waits for the runtime; what then goes to it says why it is not there.
func (m *membership) awaitRuntime(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	_ = m.agent.AwaitRuntime(ctx)
}

// PullImage implements api.BoardServer.
func (s boardServer) PullImage(req *api.PullImageRequest, stream grpc.ServerStreamingServer[api.ImageProgress]) error {
	m, err := s.fellow(stream.Context(), "pull image")
	if err != nil {
		return err
	}
	if err := stream.Send(&api.ImageProgress{Status: "asking the registry for " + req.Reference}); err != nil {
		return err
	}
	m.awaitRuntime(stream.Context())
	image, err := s.b.images.Pull(stream.Context(), req.Reference)
	if err != nil {
		return err
	}
	return m.register(stream.Context(), "pull image", []*api.Image{image}, req.RequestID, stream.Send)
}
