package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// image is what a container needs to know of its image, once it is unpacked.
type image struct {
	chain  string // the snapshot of its topmost layer
	config ocispec.ImageConfig
	health *healthcheck
}

// Bounds on what is read of an image and remembered.
const (
	maxManifest    = 4 << 20
	maxIndexDepth  = 3
	maxRemembered  = 32
	snapshotGCPref = "containerd.io/gc.ref.snapshot."
)

// unpacked answers the image for this board, unpacked into the snapshotter.
// Callers that want the same one at the same time share the work.
func (d *Driver) unpacked(ctx context.Context, id api.ImageID) (*image, error) {
	d.mu.Lock()
	known := d.images[string(id)]
	d.mu.Unlock()
	if known != nil {
		return known, nil
	}
	// The work belongs to the driver, not to the caller that came first: one
	// that gives up must not fail the others.
	result := d.unpacks.DoChan(string(id), func() (any, error) { return d.unpack(d.ctx, id) })
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*image), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("unpack image %s: %w", id, ctx.Err())
	}
}

func (d *Driver) unpack(ctx context.Context, id api.ImageID) (*image, error) {
	manifest, err := d.manifest(ctx, digest.Digest(id), 0)
	if err != nil {
		return nil, err
	}
	raw, err := d.blob(ctx, manifest.Config.Digest)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, invalid("configuration of image %s: %v", id, err)
	}
	health, err := healthcheckOf(raw)
	if err != nil {
		return nil, invalid("health check of image %s: %v", id, err)
	}
	made := config.Platform
	if made.Variant == "" {
		made.Variant = platforms.DefaultSpec().Variant // many images for arm/v6 leave it out here
	}
	if !d.platform.Match(made) {
		return nil, invalid("image %s is for %s, this board is %s", id, platforms.Format(config.Platform), platforms.DefaultString())
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) || len(manifest.Layers) == 0 {
		return nil, invalid("image %s has %d layers and %d layer digests", id, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	chain, err := d.apply(ctx, manifest, config.RootFS.DiffIDs)
	if err != nil {
		return nil, err
	}
	img := &image{chain: chain.String(), config: config.Config, health: health}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.images) >= maxRemembered {
		clear(d.images)
	}
	d.images[string(id)] = img
	return img, nil
}

// apply unpacks the layers that the snapshotter does not have and ties them to
// the image's configuration, so that they live as long as the image does.
func (d *Driver) apply(ctx context.Context, manifest ocispec.Manifest, diffs []digest.Digest) (digest.Digest, error) {
	ctx, release, err := d.client.WithLease(ctx) // until they are tied
	if err != nil {
		return "", d.wrap("lease layers", err)
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }() // it ends by itself in a day

	layers := make([]rootfs.Layer, len(diffs))
	for i, blob := range manifest.Layers {
		layers[i] = rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diffs[i]}}
	}
	chain, err := rootfs.ApplyLayers(ctx, layers, d.snaps, durable{d.client.DiffService(), syncFS})
	if errdefs.IsNotFound(native(err)) {
		return "", failuref(runtime.ErrNotFound, "unpack image: a layer is not on this board: %v", err)
	} else if err != nil {
		return "", d.wrap("unpack image", err)
	}
	label := snapshotGCPref + d.cfg.Snapshotter
	_, err = d.client.ContentStore().Update(ctx, content.Info{Digest: manifest.Config.Digest, Labels: map[string]string{label: chain.String()}}, "labels."+label)
	return chain, d.wrap("keep unpacked layers", err)
}

// manifest finds the manifest for this board behind the digest of an index or
// of a manifest.
func (d *Driver) manifest(ctx context.Context, target digest.Digest, depth int) (m ocispec.Manifest, err error) {
	raw, err := d.blob(ctx, target)
	if err != nil {
		return m, err
	}
	// What it is shows in what it holds: old manifests leave out their media type.
	var both struct {
		ocispec.Manifest
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &both); err != nil {
		return m, invalid("image manifest %s: %v", target, err)
	}
	if both.Config.Digest != "" {
		return both.Manifest, nil
	}
	fit := slices.DeleteFunc(both.Manifests, func(desc ocispec.Descriptor) bool {
		return desc.Platform != nil && !d.platform.Match(*desc.Platform) ||
			!images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType)
	})
	if len(fit) == 0 || depth == maxIndexDepth {
		return m, invalid("image %s has nothing for this board's platform %s", target, platforms.DefaultString())
	}
	best := slices.MinFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case b.Platform == nil || a.Platform != nil && d.platform.Less(*a.Platform, *b.Platform):
			return -1
		case a.Platform == nil || d.platform.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	return d.manifest(ctx, best.Digest, depth+1)
}

// blob reads a small blob of the content store whole.
func (d *Driver) blob(ctx context.Context, target digest.Digest) ([]byte, error) {
	if err := target.Validate(); err != nil {
		return nil, invalid("image digest %q: %v", target, err)
	}
	store := d.client.ContentStore()
	info, err := store.Info(ctx, target)
	switch err = native(err); {
	case errdefs.IsNotFound(err):
		return nil, failuref(runtime.ErrNotFound, "image %s is not on this board", target)
	case err != nil:
		return nil, d.wrap("read image", err)
	case info.Size > maxManifest:
		return nil, invalid("image manifest or configuration %s has %d bytes, more than %d", target, info.Size, maxManifest)
	}
	raw, err := content.ReadBlob(ctx, store, ocispec.Descriptor{Digest: target, Size: info.Size})
	if err != nil {
		return nil, d.wrap("read image", err)
	}
	return raw, nil
}

// forget drops what is remembered of an image whose snapshot turned out to be gone.
func (d *Driver) forget(id api.ImageID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.images, string(id))
}
