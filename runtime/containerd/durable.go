package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// durable applies layers so that they outlive a pulled plug: what was unpacked is
// on the card before the snapshotter commits it. containerd writes down that a
// layer is there, and syncs that, but up to 1.7 does not sync the layer: after a
// power cut it would be there in name, with empty files in it, for good.
type durable struct {
	diff.Applier
	sync func(path string) error // makes all of the file system that holds path last
}

// Apply is called for each layer before its snapshot is committed.
func (a durable) Apply(ctx context.Context, layer ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	applied, err := a.Applier.Apply(ctx, layer, mounts, opts...)
	if err != nil {
		return applied, err
	}
	for _, path := range written(mounts) {
		if err := a.sync(path); err != nil {
			return applied, fmt.Errorf("make layer %s last: %w", layer.Digest, err)
		}
	}
	return applied, nil
}

// written are the folders that writing to mounts writes to: of an overlay its
// upper one, else the source.
func written(mounts []mount.Mount) []string {
	var paths []string
	for _, m := range mounts {
		path := m.Source
		for _, option := range m.Options {
			if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
				path = upper
			}
		}
		if filepath.IsAbs(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// syncFS makes the file system that holds a folder last; one that can't be seen
// from here, with all others.
func syncFS(path string) error {
	dir, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) { // a daemon with mounts of its own
		unix.Sync()
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
