package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/lab"
	"github.com/edgeswarm/edgeswarm/transport"
)

// daemons are two boards' containerds, shared by all tests: each test keeps to
// a containerd namespace of its own.
var daemons struct {
	sync.Once
	lab *lab.Lab
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if daemons.lab != nil {
		if err := daemons.lab.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startDaemons(t *testing.T) *lab.Lab {
	t.Helper()
	daemons.Do(func() {
		l, err := lab.New(lab.Config{Name: fmt.Sprintf("edgeimage%d", os.Getpid())})
		if err != nil {
			daemons.err = err
			return
		}
		daemons.lab = l
		daemons.err = l.Bare(context.Background(), 2)
	})
	if daemons.err != nil {
		t.Fatal(daemons.err)
	}
	return daemons.lab
}

// namespace is the test's own, also when it is run again.
func namespace(t *testing.T) string {
	id, _ := namespaces.LoadOrStore(t, unique.Add(1))
	return fmt.Sprintf("test-%d", id)
}

var namespaces sync.Map // *testing.T to its number

// newStore is board i's store; peers by node ID are what it can dial.
func newStore(t *testing.T, i int, platform api.Platform, peers map[api.NodeID]*Store) *Store {
	t.Helper()
	b := startDaemons(t).Board(i)
	c, err := client.New(b.Containerd(), client.WithDefaultNamespace(namespace(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var nodes []api.NodeID
	for id := range peers {
		nodes = append(nodes, id)
	}
	return New(Config{
		Client: c, Socket: b.Containerd(), Platform: platform, Platforms: func() []api.Platform { return []api.Platform{platform} },
		Neighbours: func() []api.NodeID { return nodes },
		Dial: func(ctx context.Context, id api.NodeID) (transport.Conn, error) {
			if peers[id] == nil {
				return nil, errors.New("unreachable")
			}
			return dialPipe(t, peers[id])
		},
		Logger: slog.New(slog.DiscardHandler),
	})
}

// pipeListener accepts the one stream that was dialled.
type pipeListener struct {
	conns chan transport.Conn
	once  sync.Once
}

func (l *pipeListener) Accept() (transport.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *pipeListener) Close() error { l.once.Do(func() { close(l.conns) }); return nil }

type pipeConn struct{ net.Conn }

// SetReadDeadline on a pipe errs once the far end is closed, though what it
// wrote is still to be read; a stream's does not.
func (c pipeConn) SetReadDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

func (pipeConn) Peer() transport.Peer           { return transport.Peer{ID: "peer"} }
func (c pipeConn) CloseWrite() error            { return c.Conn.Close() }
func (pipeConn) Channel(string) ([]byte, error) { return nil, nil }

func dialPipe(t *testing.T, to *Store) (transport.Conn, error) {
	near, far := net.Pipe()
	l := &pipeListener{conns: make(chan transport.Conn, 1)}
	l.conns <- pipeConn{far}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- to.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return pipeConn{near}, nil
}

var (
	amd64 = api.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = api.Platform{OS: "linux", Architecture: "arm64"}
)

// unique tells the contents of one run's images from another's.
var unique atomic.Int64

// testArchive is an image of two platforms whose layers differ. It is another
// for each test: containerd's namespaces share what has one digest.
func testArchive(t *testing.T, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	image := lab.Image{Name: name, Config: ocispec.ImageConfig{Entrypoint: []string{"/run"}}}
	for _, p := range []api.Platform{amd64, arm64} {
		image.Platforms = append(image.Platforms, lab.ImagePlatform{
			Platform: ocispec.Platform{OS: p.OS, Architecture: p.Architecture},
			Files:    map[string][]byte{"/run": bytes.Repeat(fmt.Appendf(nil, "%s %s %d", p.Architecture, t.Name(), unique.Add(1)), 20_000)},
		})
	}
	if err := lab.WriteImage(&out, image); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func load(t *testing.T, s *Store, raw []byte) *api.Image {
	t.Helper()
	images, err := s.Load(t.Context(), bytes.NewReader(raw))
	if err != nil || len(images) != 1 {
		t.Fatalf("loaded %d images, %v", len(images), err)
	}
	return images[0]
}

// blobs counts what a board holds.
func blobs(t *testing.T, s *Store) int {
	t.Helper()
	n := 0
	err := s.cfg.Client.ContentStore().Walk(t.Context(), func(content.Info) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLoadDescribesEveryPlatform(t *testing.T) {
	s := newStore(t, 1, amd64, nil)
	raw := testArchive(t, "localhost:1/web:1")
	image := load(t, s, raw)
	if len(image.Names) != 1 || image.Names[0] != "localhost:1/web:1" {
		t.Errorf("named %q", image.Names)
	}
	if len(image.Manifests) != 2 || image.Manifests[0].Platform != amd64 || image.Manifests[1].Platform != arm64 {
		t.Errorf("platforms: %+v", image.Manifests)
	}
	if image.RootSize == 0 || image.Size <= image.Manifests[0].Size+image.Manifests[1].Size {
		t.Errorf("sizes: %+v", image)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(raw)
	z.Close()
	if again := load(t, s, packed.Bytes()); again.ID != image.ID {
		t.Errorf("the same archive, packed, is image %s and not %s", again.ID, image.ID)
	}
}

func TestDamagedArchivesAreRefusedWhole(t *testing.T) {
	s := newStore(t, 1, amd64, nil)
	raw := testArchive(t, "localhost:1/web:1")
	bad := map[string][]byte{"empty": nil, "text": []byte("this is no archive at all, but a letter to my aunt\n"), "zeros": make([]byte, 4096)}
	for i := range 20 {
		bad[fmt.Sprintf("cut at %d/20", i)] = raw[:len(raw)*i/20]
	}
	flipped := bytes.Clone(raw)
	flipped[len(raw)/3] ^= 1 // inside a layer: its digest no longer fits
	bad["bit flipped"] = flipped
	for name, archive := range bad {
		images, err := s.Load(t.Context(), bytes.NewReader(archive))
		if api.KindOf(err) != api.Invalid || len(images) > 0 {
			t.Errorf("%s: %d images, %v", name, len(images), err)
		}
	}
	records, err := s.cfg.Client.ImageService().List(t.Context())
	if err != nil || len(records) != 0 {
		t.Errorf("%d images kept, %v", len(records), err)
	}
}

func TestEnsureFetchesOwnPlatformFromANeighbour(t *testing.T) {
	holder := newStore(t, 1, amd64, nil)
	image := load(t, holder, testArchive(t, "localhost:1/web:1"))
	taker := newStore(t, 2, arm64, map[api.NodeID]*Store{"a": nil, "b": holder})
	if _, err := taker.held(t.Context(), image); err == nil {
		t.Fatal("held before it was fetched")
	}
	manifest, err := taker.Ensure(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if string(manifest) != image.Manifests[1].Digest {
		t.Errorf("to run: %s, want the arm64 manifest %s", manifest, image.Manifests[1].Digest)
	}
	if n := blobs(t, taker); n != 4 { // index, manifest, config, layer
		t.Errorf("%d blobs fetched, want 4: one platform's", n)
	}
	// All is here now: no neighbour is asked.
	alone := newStore(t, 2, arm64, nil)
	if again, err := alone.Ensure(t.Context(), image); err != nil || again != manifest {
		t.Errorf("second time: %s, %v", again, err)
	}
}

func TestFetchBringsEveryPlatform(t *testing.T) {
	holder := newStore(t, 1, amd64, nil)
	image := load(t, holder, testArchive(t, "localhost:1/web:1"))
	taker := newStore(t, 2, amd64, map[api.NodeID]*Store{"a": holder})
	holds := func(s *Store, want bool) {
		t.Helper()
		if got, err := s.Holds(t.Context(), image); err != nil || got != want {
			t.Errorf("it holds the image: %v, %v", got, err)
		}
	}
	holds(holder, true)
	holds(taker, false)
	if _, err := taker.Ensure(t.Context(), image); err != nil { // for its own platform
		t.Fatal(err)
	}
	holds(taker, false)
	if err := taker.Fetch(t.Context(), image, nil, []api.NodeID{"a"}); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, taker); n != 7 {
		t.Errorf("%d blobs, want 7", n)
	}
	holds(taker, true)
}

func TestFetchSurvivesBadNeighbours(t *testing.T) {
	holder := newStore(t, 1, amd64, nil)
	image := load(t, holder, testArchive(t, "localhost:1/web:1"))
	taker := newStore(t, 2, amd64, nil)
	asked := map[api.NodeID]int{}
	var mu sync.Mutex
	taker.cfg.Neighbours = func() []api.NodeID { return []api.NodeID{"dead", "liar", "breaks", "good"} }
	taker.cfg.Dial = func(ctx context.Context, id api.NodeID) (transport.Conn, error) {
		mu.Lock()
		asked[id]++
		mu.Unlock()
		near, far := net.Pipe()
		switch id {
		case "dead":
			return nil, errors.New("no route")
		case "liar": // sends as many bytes as it should, and the wrong ones
			go lie(far, image, -1)
		case "breaks": // sends true bytes, and stops in the middle
			go breakOff(t, far, holder)
		default:
			return dialPipe(t, holder)
		}
		return pipeConn{near}, nil
	}
	if _, err := taker.Ensure(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if asked["liar"] == 0 || asked["good"] == 0 {
		t.Errorf("asked: %v", asked)
	}
}

func lie(conn net.Conn, image *api.Image, _ int) {
	defer conn.Close()
	var req blobRequest
	if readMessage(conn, &req) != nil {
		return
	}
	size := image.RootSize
	if req.Digest != string(image.ID) {
		size = 1 << 20
	}
	if writeMessage(conn, blobResponse{Found: true, Size: size}) == nil {
		conn.Write(bytes.Repeat([]byte("x"), int(size-req.Offset)))
	}
}

func breakOff(t *testing.T, conn net.Conn, holder *Store) {
	defer conn.Close()
	var req blobRequest
	if readMessage(conn, &req) != nil {
		return
	}
	up, err := dialPipe(t, holder)
	if err != nil {
		return
	}
	defer up.Close()
	resp, err := exchange(up, req)
	if err != nil || writeMessage(conn, resp) != nil {
		return
	}
	half := make([]byte, 100)
	n, _ := up.Read(half)
	conn.Write(half[:n])
}

func TestAnImageNobodyHasIsNamedSo(t *testing.T) {
	holder := newStore(t, 1, amd64, nil)
	image := load(t, holder, testArchive(t, "localhost:1/web:1"))
	image.Names = nil // no registry to ask
	other := newStore(t, 2, amd64, nil)
	empty := newStore(t, 2, amd64, map[api.NodeID]*Store{"a": other, "b": other})
	_, err := empty.Ensure(t.Context(), image)
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "no neighbour has it") {
		t.Errorf("got %v", err)
	}
}

func TestAPlatformTheImageLacksIsNamedSo(t *testing.T) {
	s := newStore(t, 1, api.Platform{OS: "linux", Architecture: "riscv64"}, nil)
	image := load(t, s, testArchive(t, "localhost:1/web:1"))
	if _, err := s.Ensure(t.Context(), image); api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "linux/riscv64") {
		t.Errorf("got %v", err)
	}
}

func TestNamesAreReadAsDockerDoes(t *testing.T) {
	for name, want := range map[string]string{
		"web": "docker.io/library/web:latest", "web:1": "docker.io/library/web:1", "me/web": "docker.io/me/web:latest",
		"ghcr.io/me/web:2": "ghcr.io/me/web:2", "localhost:5000/web": "localhost:5000/web:latest",
	} {
		if got, err := FullName(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Web", "web:", "web@sha256:1", "a b", "http://web"} {
		if _, err := FullName(name); api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzBlobMessages(f *testing.F) {
	f.Add([]byte{0, 1, 0xa0})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var req blobRequest
		_ = readMessage(bytes.NewReader(raw), &req)
		var resp blobResponse
		_ = readMessage(bytes.NewReader(raw), &resp)
	})
}
