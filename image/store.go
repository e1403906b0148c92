package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// Config of a board's image store.
type Config struct {
	// Client of containerd, in the namespace that holds our blobs. The daemon
	// need not be there yet. Socket is for error messages.
	Client *client.Client
	Socket string
	// Platform of this board; Platforms are those of all the fleet's boards,
	// which a pull from a registry brings along.
	Platform  api.Platform
	Platforms func() []api.Platform
	// Dial opens a Blob stream to a neighbour; Neighbours are the nodes worth
	// asking, best first.
	Dial       func(context.Context, api.NodeID) (transport.Conn, error)
	Neighbours func() []api.NodeID
	// Mirrors are URLs to ask before a registry, by the registry's name.
	Mirrors map[string]string
	Logger  *slog.Logger
}

// Store is a board's part of the fleet's images. It implements agent.Images.
type Store struct {
	cfg Config

	flights sync.Mutex
	flying  map[api.ImageID]*flight // one fetch of an image at a time
}

type flight struct {
	done chan struct{}
	err  error
}

// New prepares a store. The client stays the caller's, who closes it.
func New(cfg Config) *Store {
	return &Store{cfg: cfg, flying: map[api.ImageID]*flight{}}
}

// Ensure makes the image complete for this board's platform and returns the
// digest of the manifest to run.
func (s *Store) Ensure(ctx context.Context, image *api.Image) (api.ImageID, error) {
	manifest, err := s.held(ctx, image)
	if err == nil || !errdefs.IsNotFound(err) {
		return manifest, s.explain(err)
	}
	own := s.cfg.Platform
	if err := s.Fetch(ctx, image, &own, nil); err != nil {
		return "", err
	}
	manifest, err = s.held(ctx, image)
	return manifest, s.explain(err)
}

// Holds tells whether every blob that the fleet has of an image is here.
func (s *Store) Holds(ctx context.Context, image *api.Image) (bool, error) {
	err := complete(ctx, s.cfg.Client.ContentStore(), rootOf(image), matcher(image, nil))
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, s.explain(err)
}

// held answers the manifest of this board's platform if every blob of it is
// here; the error is errdefs.ErrNotFound if one is missing.
func (s *Store) held(ctx context.Context, image *api.Image) (api.ImageID, error) {
	cs := s.cfg.Client.ContentStore()
	desc, err := s.manifestFor(ctx, cs, rootOf(image))
	if err != nil {
		return "", err
	}
	if err := complete(ctx, cs, desc, platforms.All); err != nil {
		return "", err
	}
	return api.ImageID(desc.Digest), nil
}

// manifestFor picks the manifest that suits this board best.
func (s *Store) manifestFor(ctx context.Context, cs content.Store, root ocispec.Descriptor) (ocispec.Descriptor, error) {
	if images.IsManifestType(root.MediaType) {
		return root, nil
	}
	children, err := images.Children(ctx, cs, root)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	match := platforms.Only(toOCI(s.cfg.Platform))
	var best *ocispec.Descriptor
	for i, child := range children {
		if !images.IsManifestType(child.MediaType) {
			continue
		}
		p := child.Platform
		if p == nil {
			found, err := images.Platforms(ctx, cs, child)
			if err != nil || len(found) == 0 {
				continue // a manifest that is not here can't be the one
			}
			p = &found[0]
		}
		if match.Match(*p) && (best == nil || best.Platform != nil && match.Less(*p, *best.Platform)) {
			best = &children[i]
		}
	}
	if best == nil {
		return ocispec.Descriptor{}, api.Errorf(api.Invalid, "", "image has nothing for %s", s.cfg.Platform)
	}
	return *best, nil
}

// complete checks that every blob below root is here, for the platforms that match.
func complete(ctx context.Context, cs content.Store, root ocispec.Descriptor, match platforms.Matcher) error {
	check := images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if _, err := cs.Info(ctx, desc.Digest); err != nil {
			return nil, err
		}
		return images.Children(ctx, cs, desc)
	})
	return images.Walk(ctx, images.FilterPlatforms(check, match), root)
}

// keep roots an image's blobs, so that containerd's garbage collection leaves
// them: a label from each blob to those below it, and one image record.
func (s *Store) keep(ctx context.Context, c *client.Client, root ocispec.Descriptor) error {
	cs := c.ContentStore()
	children := images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		below, err := images.Children(ctx, cs, desc)
		if errdefs.IsNotFound(err) {
			return nil, images.ErrSkipDesc // a platform that is not kept here
		}
		return below, err
	})
	if err := images.Walk(ctx, images.SetChildrenLabels(cs, children), root); err != nil {
		return fmt.Errorf("label blobs: %w", err)
	}
	_, err := c.ImageService().Create(ctx, images.Image{Name: recordName(root.Digest), Target: root})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("record image: %w", err)
	}
	return nil
}

// recordName names an image in containerd by what it is, never by a name that
// could move: names are the fleet's.
func recordName(d digest.Digest) string { return "edgeswarm@" + d.String() }

// leased runs work under a lease: blobs that come in are safe from collection
// until it ends.
func (s *Store) leased(ctx context.Context, work func(context.Context, *client.Client) error) error {
	c := s.cfg.Client
	ctx, done, err := c.WithLease(ctx, leases.WithRandomID(), leases.WithExpiration(24*time.Hour))
	if err != nil {
		return fmt.Errorf("take lease: %w", err)
	}
	err = work(log.WithLogger(ctx, quiet), c)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if doneErr := done(ending); doneErr != nil {
		s.cfg.Logger.Debug("lease not returned, it expires by itself", "err", doneErr)
	}
	return err
}

// explain turns containerd's errors into ours.
func (s *Store) explain(err error) error {
	var known *api.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errdefs.IsUnavailable(err):
		return api.Errorf(api.Unavailable, "", "containerd does not answer at %s: see that it runs: %w", s.cfg.Socket, err)
	case errdefs.IsNotFound(err):
		return api.Errorf(api.NotFound, "", "a blob is missing: %w", err)
	default:
		return api.Errorf(api.Unavailable, "", "%w", err)
	}
}

func rootOf(image *api.Image) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: image.MediaType, Digest: digest.Digest(image.ID), Size: image.RootSize}
}

func toOCI(p api.Platform) ocispec.Platform {
	return platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
}

func fromOCI(p ocispec.Platform) api.Platform {
	return api.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
