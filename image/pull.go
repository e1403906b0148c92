package image

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/edgeswarm/edgeswarm/api"
)

// Pull fetches an image from the registry that its name points to, for every
// platform of the fleet, and answers it complete on this board and kept.
// NotFound if the registry does not have it, Unavailable if it can't be asked.
func (s *Store) Pull(ctx context.Context, name string) (*api.Image, error) {
	full, err := FullName(name)
	if err != nil {
		return nil, err
	}
	root, fetcher, err := s.resolve(ctx, full)
	if err != nil {
		return nil, err
	}
	var wanted []ocispec.Platform
	for _, p := range s.cfg.Platforms() {
		wanted = append(wanted, toOCI(p))
	}
	var image *api.Image
	err = s.leased(ctx, func(ctx context.Context, c *client.Client) error {
		if err := s.fetch(ctx, c, fromRegistry(fetcher), root, anyOf(wanted)); err != nil {
			return err
		}
		tag, _, _ := strings.Cut(full, "@")
		image, err = s.describe(ctx, c, root, []string{tag})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", full, s.explain(err))
	}
	return image, nil
}

// quiet keeps containerd's library from logging what it also returns.
var quiet = func() *log.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}()

// resolveTimeout bounds the first question to a registry: a board without an
// uplink would otherwise wait for its resolver's every try.
const resolveTimeout = 10 * time.Second

// resolve asks a registry what a full reference stands for now.
func (s *Store) resolve(ctx context.Context, full string) (ocispec.Descriptor, remotes.Fetcher, error) {
	resolver := docker.NewResolver(docker.ResolverOptions{
		Hosts: s.hosts(),
	})
	asking, cancel := context.WithTimeout(log.WithLogger(ctx, quiet), resolveTimeout)
	defer cancel()
	name, root, err := resolver.Resolve(asking, full)
	if errdefs.IsNotFound(err) {
		return root, nil, api.Errorf(api.NotFound, "pull", "%s is not in its registry: check the name", full)
	}
	if err != nil {
		return root, nil, api.Errorf(api.Unavailable, "pull", "the registry of %s can't be asked (%w): check the uplink", full, err)
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return root, nil, api.Errorf(api.Unavailable, "pull", "%s: %w", full, err)
	}
	return root, fetcher, nil
}

// fetchFromRegistry brings a pinned image that no neighbour has.
func (s *Store) fetchFromRegistry(ctx context.Context, image *api.Image, platform *api.Platform) error {
	var last error
	for _, name := range image.Names {
		_, fetcher, err := s.resolve(ctx, name+"@"+string(image.ID))
		if err == nil {
			err = s.leased(ctx, func(ctx context.Context, c *client.Client) error {
				return s.fetch(ctx, c, fromRegistry(fetcher), rootOf(image), matcher(image, platform))
			})
		}
		if err == nil {
			return nil
		}
		last = err
	}
	return last
}

func anyOf(wanted []ocispec.Platform) platforms.Matcher {
	matchers := make(orMatcher, 0, len(wanted))
	for _, p := range wanted {
		matchers = append(matchers, platforms.Only(p))
	}
	return matchers
}

// orMatcher matches what one of its own does; unlike platforms.Any it also
// takes what a platform can run besides its own (v6 on v7).
type orMatcher []platforms.Matcher

func (o orMatcher) Match(p ocispec.Platform) bool {
	for _, m := range o {
		if m.Match(p) {
			return true
		}
	}
	return false
}
