package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
)

// registry serves the image of one archive as NAME:1 by the distribution
// protocol, read only, on loopback.
type registry struct {
	*httptest.Server
	blobs    map[string][]byte // by digest
	root     ocispec.Descriptor
	requests atomic.Int64
}

func startRegistry(t *testing.T, archive []byte) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}}
	var index ocispec.Index
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if header.Name == ocispec.ImageIndexFile {
			if err := json.Unmarshal(raw, &index); err != nil {
				t.Fatal(err)
			}
		}
		r.blobs["sha256:"+path.Base(header.Name)] = raw
	}
	r.root = index.Manifests[0]
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// name is how the registry's image is asked for.
func (r *registry) name() string { return strings.TrimPrefix(r.URL, "http://") + "/web:1" }

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
	kind, ref := path.Base(path.Dir(req.URL.Path)), path.Base(req.URL.Path)
	if kind == "manifests" && ref == "1" {
		ref = r.root.Digest.String()
	}
	raw, ok := r.blobs[ref]
	if !ok {
		http.NotFound(w, req)
		return
	}
	if kind == "manifests" {
		mediaType := ocispec.MediaTypeImageManifest
		if ref == r.root.Digest.String() {
			mediaType = r.root.MediaType
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", ref)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	if req.Method != http.MethodHead {
		w.Write(raw)
	}
}

func TestPullBringsTheFleetsPlatforms(t *testing.T) {
	r := startRegistry(t, testArchive(t, "web:1"))
	s := newStore(t, 1, arm64, nil)
	image, err := s.Pull(t.Context(), r.name())
	if err != nil {
		t.Fatal(err)
	}
	if string(image.ID) != r.root.Digest.String() || len(image.Manifests) != 1 || image.Manifests[0].Platform != arm64 {
		t.Errorf("pulled %+v", image)
	}
	if len(image.Names) != 1 || image.Names[0] != r.name() {
		t.Errorf("named %q, want %q", image.Names, r.name())
	}
	if _, err := s.Ensure(t.Context(), image); err != nil {
		t.Error(err)
	}
}

func TestPullSaysWhyNot(t *testing.T) {
	r := startRegistry(t, testArchive(t, "web:1"))
	s := newStore(t, 1, amd64, nil)
	if _, err := s.Pull(t.Context(), strings.TrimSuffix(r.name(), "1")+"2"); api.KindOf(err) != api.NotFound {
		t.Errorf("a tag that is not there: %v", err)
	}
	r.Close()
	if _, err := s.Pull(t.Context(), r.name()); api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "can't be asked") {
		t.Errorf("a registry that is not there: %v", err)
	}
	if _, err := s.Pull(t.Context(), "No Image"); api.KindOf(err) != api.Invalid {
		t.Errorf("no name: %v", err)
	}
}

func TestTheRegistryIsAskedLast(t *testing.T) {
	r := startRegistry(t, testArchive(t, "web:1"))
	holder := newStore(t, 1, amd64, nil)
	image, err := holder.Pull(t.Context(), r.name())
	if err != nil {
		t.Fatal(err)
	}
	before := r.requests.Load()
	taker := newStore(t, 2, amd64, map[api.NodeID]*Store{"a": holder})
	if _, err := taker.Ensure(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if asked := r.requests.Load() - before; asked != 0 {
		t.Errorf("the registry was asked %d times, and a neighbour had it all", asked)
	}
}

func TestTheRegistryHelpsWhenNoNeighbourCan(t *testing.T) {
	r := startRegistry(t, testArchive(t, "web:1"))
	first := newStore(t, 1, amd64, nil)
	image, err := first.Pull(t.Context(), r.name())
	if err != nil {
		t.Fatal(err)
	}
	alone := newStore(t, 2, amd64, map[api.NodeID]*Store{"a": nil})
	if _, err := alone.Ensure(t.Context(), image); err != nil {
		t.Error(err)
	}
}
