package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image describes an image to make without any tool or registry.
type Image struct {
	Name      string // "web:1"
	Platforms []ImagePlatform
	Config    ocispec.ImageConfig
}

// ImagePlatform is what an image holds for one platform: file contents by
// absolute path. All are made executable; "path -> target" entries go to Links.
type ImagePlatform struct {
	Platform ocispec.Platform
	Files    map[string][]byte
	Links    map[string]string
}

// WriteImage writes an image as an OCI layout in a tar archive. Equal input
// makes equal bytes.
func WriteImage(w io.Writer, image Image) error {
	tw := tar.NewWriter(w)
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, p := range image.Platforms {
		desc, err := writePlatform(tw, p, image.Config)
		if err != nil {
			return fmt.Errorf("write image %s for %s: %w", image.Name, p.Platform.Architecture, err)
		}
		index.Manifests = append(index.Manifests, desc)
	}
	desc, err := writeJSON(tw, index, ocispec.MediaTypeImageIndex)
	if err != nil {
		return fmt.Errorf("write image %s: %w", image.Name, err)
	}
	desc.Annotations = map[string]string{"io.containerd.image.name": image.Name, ocispec.AnnotationRefName: image.Name}
	top, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{desc}})
	if err != nil {
		return fmt.Errorf("write image %s: %w", image.Name, err)
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {ocispec.ImageIndexFile, top}} {
		if err := writeFile(tw, file.name, file.data, 0o644); err != nil {
			return fmt.Errorf("write image %s: %w", image.Name, err)
		}
	}
	return tw.Close()
}

func writePlatform(tw *tar.Writer, p ImagePlatform, config ocispec.ImageConfig) (ocispec.Descriptor, error) {
	var layer bytes.Buffer
	lw := tar.NewWriter(&layer)
	for _, path := range sortedKeys(p.Files) {
		if err := writeFile(lw, path[1:], p.Files[path], 0o755); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	for _, path := range sortedKeys(p.Links) {
		if err := lw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path[1:], Linkname: p.Links[path], Mode: 0o777}); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	if err := lw.Close(); err != nil {
		return ocispec.Descriptor{}, err
	}
	layerDesc, err := writeBlob(tw, layer.Bytes(), ocispec.MediaTypeImageLayer)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	configDesc, err := writeJSON(tw, ocispec.Image{
		Created: &time.Time{}, Platform: p.Platform, Config: config,
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDesc.Digest}},
	}, ocispec.MediaTypeImageConfig)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := writeJSON(tw, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layerDesc},
	}, ocispec.MediaTypeImageManifest)
	desc.Platform = &p.Platform
	return desc, err
}

func writeJSON(tw *tar.Writer, v any, mediaType string) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return writeBlob(tw, raw, mediaType)
}

func writeBlob(tw *tar.Writer, data []byte, mediaType string) (ocispec.Descriptor, error) {
	sum := digest.NewDigestFromBytes(digest.SHA256, sha(data))
	return ocispec.Descriptor{MediaType: mediaType, Digest: sum, Size: int64(len(data))},
		writeFile(tw, "blobs/sha256/"+sum.Encoded(), data, 0o644)
}

func writeFile(tw *tar.Writer, name string, data []byte, mode int64) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: mode}); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

func sha(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
