package node

import (
	"context"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// leaderPause is how long to wait before asking the next leader.
const leaderPause = 200 * time.Millisecond

// replicator moves images for the manager; it implements control.Images.
type replicator struct{ m *membership }

// Replicate makes a node hold an image that another holds.
func (r replicator) Replicate(ctx context.Context, image *api.Image, holder, to api.NodeID) error {
	client, err := r.m.boardOf(to)
	if err != nil {
		return err
	}
	_, err = client.FetchImage(ctx, &api.FetchImageRequest{Image: image, From: []api.NodeID{holder}})
	return err
}

// Pull fetches an image from its registry to this board.
func (r replicator) Pull(ctx context.Context, reference string) (*api.Image, error) {
	return r.m.board.images.Pull(ctx, reference)
}
