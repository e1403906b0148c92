package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
)

// errNoHolder: every neighbour that answered says it does not have a blob.
var errNoHolder = errors.New("no neighbour has it")

// Fetch makes this board hold an image's blobs: those of one platform, or of
// every platform the fleet has of it. The nodes of from are asked first, then
// all neighbours, then the registries that the image's names point to. The
// error is an *api.Error that says who was asked.
func (s *Store) Fetch(ctx context.Context, image *api.Image, platform *api.Platform, from []api.NodeID) error {
	return s.once(ctx, image.ID, func() error {
		near := &neighbours{store: s, nodes: merge(from, s.cfg.Neighbours())}
		err := s.leased(ctx, func(ctx context.Context, c *client.Client) error {
			return s.fetch(ctx, c, near.bring, rootOf(image), matcher(image, platform))
		})
		if err != nil && ctx.Err() == nil && len(image.Names) > 0 {
			if pullErr := s.fetchFromRegistry(ctx, image, platform); pullErr != nil {
				return api.Errorf(api.Unavailable, "fetch image", "%w; and its registry: %w", err, pullErr)
			}
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return api.Errorf(api.Unavailable, "fetch image", "%w", err)
		}
		return err
	})
}

// bring makes one blob be in a content store.
type bring func(ctx context.Context, cs content.Store, desc ocispec.Descriptor) error

// fetch walks from the root down, brings what is missing, and keeps it.
func (s *Store) fetch(ctx context.Context, c *client.Client, bring bring, root ocispec.Descriptor, match platforms.Matcher) error {
	cs := c.ContentStore()
	missing := images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if _, err := cs.Info(ctx, desc.Digest); err == nil {
			return nil, nil
		}
		return nil, bring(ctx, cs, desc)
	})
	children := images.FilterPlatforms(images.ChildrenHandler(cs), match)
	if err := images.Dispatch(ctx, images.Handlers(missing, children), nil, root); err != nil {
		return err
	}
	return s.keep(ctx, c, root)
}

// neighbours brings blobs from the nodes named, in order.
type neighbours struct {
	store *Store
	nodes []api.NodeID
	// best is the index of the node that had the last blob; layers are fetched
	// side by side, so it is only a place to begin.
	best atomic.Int32
}

func (n *neighbours) bring(ctx context.Context, cs content.Store, desc ocispec.Descriptor) error {
	failed := 0
	var last error
	first := int(n.best.Load())
	for k := range n.nodes {
		i := (first + k) % len(n.nodes)
		err := n.from(ctx, cs, n.nodes[i], desc)
		switch {
		case err == nil:
			n.best.Store(int32(i))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, errNotHeld):
			failed, last = failed+1, fmt.Errorf("node %s: %w", n.nodes[i], err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("blob %s: not to be had from any of %d neighbours; the last error: %w", short(desc.Digest), len(n.nodes), last)
	}
	return fmt.Errorf("blob %s: %w (%d asked)", short(desc.Digest), errNoHolder, len(n.nodes))
}

// from brings a blob from one node. What a broken line left is kept for the
// next to go on with; what is whole and not the blob is thrown away.
func (n *neighbours) from(ctx context.Context, cs content.Store, node api.NodeID, desc ocispec.Descriptor) error {
	source := remotes.FetcherFunc(func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		return &remoteBlob{ctx: ctx, dial: n.store.cfg.Dial, node: node, digest: desc.Digest}, nil
	})
	err := remotes.Fetch(ctx, cs, source, desc)
	if err == nil || errdefs.IsAlreadyExists(err) {
		return nil
	}
	ref := remotes.MakeRefKey(ctx, desc)
	if status, statusErr := cs.Status(ctx, ref); statusErr == nil && status.Offset >= desc.Size {
		err = errors.Join(err, cs.Abort(ctx, ref))
	}
	return err
}

// fromRegistry brings blobs by a registry's fetcher.
func fromRegistry(fetcher remotes.Fetcher) bring {
	return func(ctx context.Context, cs content.Store, desc ocispec.Descriptor) error {
		if err := remotes.Fetch(ctx, cs, fetcher, desc); err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
		return nil
	}
}

// matcher tells which manifests of an index to bring: those of one platform,
// or those that the fleet's description of the image lists.
func matcher(image *api.Image, platform *api.Platform) platforms.Matcher {
	if platform != nil {
		return platforms.Only(toOCI(*platform))
	}
	var have []ocispec.Platform
	for _, m := range image.Manifests {
		have = append(have, toOCI(m.Platform))
	}
	return platforms.Any(have...)
}

// once lets one fetch of an image go on at a time; whoever comes meanwhile
// waits for it and then looks again for itself.
func (s *Store) once(ctx context.Context, id api.ImageID, work func() error) error {
	for {
		s.flights.Lock()
		f, flying := s.flying[id]
		if !flying {
			f = &flight{done: make(chan struct{})}
			s.flying[id] = f
			s.flights.Unlock()
			f.err = work()
			s.flights.Lock()
			delete(s.flying, id)
			s.flights.Unlock()
			close(f.done)
			return f.err
		}
		s.flights.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		// What flew may have been for another platform, or ended with its own
		// caller: this one walks the blobs again, which costs nothing if all is here.
	}
}

// merge lists first and then the rest, each once.
func merge(first, rest []api.NodeID) []api.NodeID {
	seen := map[api.NodeID]bool{}
	var out []api.NodeID
	for _, list := range [][]api.NodeID{first, rest} {
		for _, id := range list {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	return out
}

// describe tells what of an image is complete here, as the fleet records it.
func (s *Store) describe(ctx context.Context, c *client.Client, root ocispec.Descriptor, names []string) (*api.Image, error) {
	cs := c.ContentStore()
	image := &api.Image{ID: api.ImageID(root.Digest), MediaType: root.MediaType, RootSize: root.Size, Names: names, Size: root.Size}
	manifests := []ocispec.Descriptor{root}
	if images.IsIndexType(root.MediaType) {
		var err error
		if manifests, err = images.Children(ctx, cs, root); err != nil {
			return nil, fmt.Errorf("read image index: %w", err)
		}
		image.Size = root.Size
	} else {
		image.Size = 0 // the manifest is counted below
	}
	for _, desc := range manifests {
		if !images.IsManifestType(desc.MediaType) || complete(ctx, cs, desc, platforms.All) != nil {
			continue
		}
		found, err := images.Platforms(ctx, cs, desc)
		if err != nil || len(found) == 0 || found[0].OS == "unknown" {
			continue // an attestation, not something to run
		}
		size, err := sizeOf(ctx, c, desc)
		if err != nil {
			return nil, err
		}
		image.Manifests = append(image.Manifests, api.ImageManifest{Digest: desc.Digest.String(), Platform: fromOCI(found[0]), Size: size})
		image.Size += size
	}
	if len(image.Manifests) == 0 {
		return nil, api.Errorf(api.Invalid, "", "it holds no complete image for any platform: save it again with all its layers")
	}
	return image, nil
}

// sizeOf adds up the blobs of one manifest.
func sizeOf(ctx context.Context, c *client.Client, desc ocispec.Descriptor) (int64, error) {
	var total int64
	err := images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		total += d.Size
		return images.Children(ctx, c.ContentStore(), d)
	}), desc)
	if err != nil {
		return 0, fmt.Errorf("add up image: %w", err)
	}
	return total, nil
}
