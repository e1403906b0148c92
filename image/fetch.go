package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
)

// Fetch makes this board hold an image's blobs: those of one platform, or of
// every platform the fleet has of it. The nodes of from are asked first, then
// all neighbours, then the registries that the image's names point to. The
// error is an *api.Error that says who was asked.
func (s *Store) Fetch(ctx context.Context, image *api.Image, platform *api.Platform, from []api.NodeID) error {
	return s.once(ctx, image.ID, func() error {
		sources := &neighbours{dial: s.cfg.Dial, nodes: merge(from, s.cfg.Neighbours())}
		err := s.leased(ctx, func(ctx context.Context, c *client.Client) error {
			return s.fetch(ctx, c, sources, rootOf(image), matcher(image, platform))
		})
		if errors.Is(err, errNoHolder) && len(image.Names) > 0 {
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

// fetch walks from the root down, brings what is missing, and keeps it.
func (s *Store) fetch(ctx context.Context, c *client.Client, from remotes.Fetcher, root ocispec.Descriptor, match platforms.Matcher) error {
	cs := c.ContentStore()
	children := images.FilterPlatforms(images.ChildrenHandler(cs), match)
	handler := images.Handlers(remotes.FetchHandler(cs, from), children)
	if err := images.Dispatch(ctx, handler, nil, root); err != nil {
		return err
	}
	return s.keep(ctx, c, root)
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
