package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
)

// maxIndex bounds an index.json, which is read into memory.
const maxIndex = 4 << 20

// Load takes an archive in (OCI layout or docker-save, plain or gzip) and
// answers the images it held, complete on this board and kept. Invalid if it
// is no archive, is cut short, or holds no complete image; nothing is kept then.
func (s *Store) Load(ctx context.Context, r io.Reader) ([]*api.Image, error) {
	var loaded []*api.Image
	err := s.leased(ctx, func(ctx context.Context, c *client.Client) error {
		plain, err := decompressed(r)
		if err != nil {
			return err
		}
		checked, verdict := verified(plain)
		index, err := archive.ImportIndex(ctx, c.ContentStore(), checked)
		if damage := verdict(); damage != nil {
			return damage
		}
		if err != nil {
			return err
		}
		named, err := readIndex(ctx, c.ContentStore(), index)
		if err != nil {
			return err
		}
		for _, n := range named {
			image, err := s.describe(ctx, c, n.desc, n.names)
			if err != nil {
				return err
			}
			loaded = append(loaded, image)
		}
		for _, n := range named {
			if err := s.keep(ctx, c, n.desc); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.explainArchive(err)
	}
	return loaded, nil
}

// decompressed unpacks gzip if it is that.
func decompressed(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(2)
	if errors.Is(err, io.EOF) {
		return nil, api.Errorf(api.Invalid, "", "the archive is empty")
	}
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}

// verified passes an archive on and checks, beside the import, that each blob
// is what its file name says: the import goes by content alone, and would take
// a damaged layer for a platform that the archive leaves out. The verdict is
// asked for when the import has ended.
func verified(r io.Reader) (checked io.Reader, verdict func() error) {
	copied, to := io.Pipe()
	found := make(chan error, 1)
	go func() { // ends when verdict closes the pipe
		err := checkBlobs(copied)
		_, _ = io.Copy(io.Discard, copied)
		found <- err
	}()
	return io.TeeReader(r, to), func() error {
		to.Close()
		return <-found
	}
}

func checkBlobs(r io.Reader) error {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if err != nil {
			return nil // the import says what is wrong with the archive itself
		}
		name, isBlob := strings.CutPrefix(path.Clean(header.Name), "blobs/sha256/")
		if !isBlob || header.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, archive); err != nil {
			return nil
		}
		if hex.EncodeToString(sum.Sum(nil)) != name {
			return api.Errorf(api.Invalid, "", "the archive is damaged: blob %.12s is not what its name says: copy or save it again", name)
		}
	}
}

type namedImage struct {
	desc  ocispec.Descriptor
	names []string
}

// readIndex lists the images of an archive's top index, each with its names.
func readIndex(ctx context.Context, cs content.Store, desc ocispec.Descriptor) ([]*namedImage, error) {
	info, err := cs.Info(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	if info.Size > maxIndex {
		return nil, api.Errorf(api.Invalid, "", "its index is larger than %d MiB", maxIndex>>20)
	}
	raw, err := content.ReadBlob(ctx, cs, ocispec.Descriptor{Digest: desc.Digest, Size: info.Size})
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, api.Errorf(api.Invalid, "", "its index is not JSON: %w", err)
	}
	var found []*namedImage
	byDigest := map[string]*namedImage{}
	for _, m := range index.Manifests {
		if _, about := m.Annotations[images.AnnotationManifestSubject]; about {
			continue // says something of another manifest
		}
		n := byDigest[m.Digest.String()]
		if n == nil {
			n = &namedImage{desc: m}
			byDigest[m.Digest.String()] = n
			found = append(found, n)
		}
		name, err := archiveName(m.Annotations)
		if err != nil {
			return nil, err
		}
		if name != "" {
			n.names = append(n.names, name)
		}
	}
	return found, nil
}

// archiveName is the full reference that an archive gives an image, "" if none.
// An OCI reference name is a bare tag in some tools' archives: that is no name.
func archiveName(annotations map[string]string) (string, error) {
	name := annotations[images.AnnotationImageName]
	if name == "" {
		name = annotations[ocispec.AnnotationRefName]
		if !strings.ContainsAny(name, ":/") {
			return "", nil
		}
	}
	return FullName(name)
}

// FullName completes a reference as Docker does: "web" is
// "docker.io/library/web:latest". Invalid if it can't be one.
func FullName(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", api.Errorf(api.Invalid, "", "%q is not an image name: %w", name, err)
	}
	return ref.String(), nil
}

// explainArchive says in words what is wrong with an archive.
func (s *Store) explainArchive(err error) error {
	var syntax *json.SyntaxError
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return &api.Error{Kind: known.Kind, Op: "load image", Err: known.Err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum):
		return api.Errorf(api.Invalid, "load image", "the archive ends early or is damaged (%w): copy or save it again", err)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrHeader), errors.As(err, &syntax),
		strings.Contains(err.Error(), "unrecognized image format"), strings.Contains(err.Error(), "missing index.json"), strings.Contains(err.Error(), "not found"):
		return api.Errorf(api.Invalid, "load image", "this is no complete image archive (%w): give one made by `docker save` or in OCI layout", err)
	case strings.Contains(err.Error(), "no space left"):
		return api.Errorf(api.Unavailable, "load image", "this board's disk is full: %w", err)
	default:
		return fmt.Errorf("load image: %w", s.explain(err))
	}
}
