package clustertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// Platform of all boards, and of all images.
var Platform = api.Platform{OS: "linux", Architecture: "arm64"}

// images implements node.Images: every image can be had from its registry, and
// every board has what it is asked to have.
type images struct{}

func (images) Ensure(_ context.Context, image *api.Image) (api.ImageID, error) { return image.ID, nil }

func (images) Serve(ctx context.Context, l transport.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
}

func (images) Fetch(context.Context, *api.Image, *api.Platform, []api.NodeID) error { return nil }

func (images) Holds(context.Context, *api.Image) (bool, error) { return true, nil }

func (images) Load(context.Context, io.Reader) ([]*api.Image, error) {
	return nil, errors.New("there are no archives in memory")
}

func (images) Pull(_ context.Context, reference string) (*api.Image, error) {
	sum := sha256.Sum256([]byte(reference))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	return &api.Image{
		ID: api.ImageID(digest), MediaType: "application/vnd.oci.image.manifest.v1+json", RootSize: 1, Size: 1,
		Manifests: []api.ImageManifest{{Digest: digest, Platform: Platform, Size: 1}},
	}, nil
}

// network implements node.Network: every task has the board's.
type network struct{}

func (network) Attach(context.Context, *api.Task) (agent.Attachment, error) {
	return agent.Attachment{}, nil
}
func (network) Detach(context.Context, api.TaskID) error   { return nil }
func (network) Retain(context.Context, []api.TaskID) error { return nil }
func (network) Learn(agent.Fabric)                         {}
func (network) Subnets() ([]netip.Prefix, error)           { return nil, nil }
func (network) Mesh() api.MeshEnd                          { return api.MeshEnd{} }
func (network) TurnKey() error                             { return nil }
func (network) Check(context.Context, []string) api.NetworkCheck {
	return api.NetworkCheck{}
}

func (network) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// wire implements node.Interfaces: one address, which can change.
type wire struct {
	mu      sync.Mutex
	addr    netip.Addr
	changed chan struct{}
}

func (w *wire) Addrs() ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []netip.Addr{w.addr}, nil
}

func (w *wire) move(to netip.Addr) {
	w.mu.Lock()
	w.addr = to
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *wire) Watch(ctx context.Context, changed func()) error {
	for {
		select {
		case <-w.changed:
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}
