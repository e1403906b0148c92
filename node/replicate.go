package node

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// replicator moves images for the manager; it implements control.Images.
type replicator struct{ m *membership }

// helloWithin is how long a node may take to show that it is there.
const helloWithin = time.Second

// Replicate makes a node hold an image that another holds. A copy may take
// minutes, but that the node lost its power a moment ago shows at once.
func (r replicator) Replicate(ctx context.Context, image *api.Image, holder, to api.NodeID) error {
	client, err := r.m.boardOf(to)
	if err != nil {
		return err
	}
	hello, cancel := context.WithTimeout(ctx, helloWithin)
	_, err = client.WhoLeads(hello)
	cancel()
	if err != nil {
		return err
	}
	_, err = client.FetchImage(ctx, &api.FetchImageRequest{Image: image, From: []api.NodeID{holder}})
	return err
}

// Holds asks a node whether it holds an image, for all its platforms.
func (r replicator) Holds(ctx context.Context, image *api.Image, node api.NodeID) (bool, error) {
	client, err := r.m.boardOf(node)
	if err != nil {
		return false, err
	}
	_, err = client.FetchImage(ctx, &api.FetchImageRequest{Image: image, Ask: true})
	if api.KindOf(err) == api.NotFound {
		return false, nil
	}
	return err == nil, err
}

// Pull fetches an image from its registry to this board.
func (r replicator) Pull(ctx context.Context, reference string) (*api.Image, error) {
	return r.m.board.images.Pull(ctx, reference)
}

// register records images that this board holds, and says when the fleet has
// acknowledged them.
func (m *membership) register(ctx context.Context, op string, images []*api.Image, request api.RequestID, tell func(*api.ImageProgress) error) error {
	done := &api.ImageProgress{Done: true}
	for _, image := range images {
		status := "copying " + string(image.ID) + " to a second board"
		if err := tell(&api.ImageProgress{Status: status, Total: image.Size}); err != nil {
			return err
		}
		if request == "" {
			request = api.NewID[api.RequestID]()
		}
		resp, err := m.registerOne(ctx, &api.RegisterImageRequest{RequestID: request, Image: *image, Holder: m.self})
		if err != nil {
			return err
		}
		done.Images = append(done.Images, resp.Image)
		if done.Copies == nil || len(resp.Copies) < len(done.Copies) { // of the image that has the fewest
			done.Copies = resp.Copies
		}
		done.Current += image.Size
		request = ""
	}
	done.Total = done.Current
	return tell(done)
}

// registerOne tries again, with the same request, as long as leaders change.
func (m *membership) registerOne(ctx context.Context, req *api.RegisterImageRequest) (*api.RegisterImageResponse, error) {
	for {
		control, err := m.control(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := control.RegisterImage(ctx, req)
		if api.KindOf(err) != api.NotLeader {
			return resp, err
		}
		if !sleep(ctx, leaderPause) {
			return nil, ctx.Err()
		}
	}
}
