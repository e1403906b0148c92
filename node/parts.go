package node

import (
	"context"
	"io"
	"iter"
	"net"
	"net/netip"
	"time"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/logs"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/transport"
)

// Parts are what a board works with of the world around it: the kernel, the
// LAN, a container runtime, a clock. Run makes the real ones; a fleet in
// memory brings its own. All are needed unless they say otherwise, and none is
// shared by two boards.
type Parts struct {
	// Packets is the one UDP socket. The board closes it.
	Packets net.PacketConn
	// Local is where edgectl calls: whoever can connect is an operator of the
	// fleet. The board closes it.
	Local net.Listener
	// Finder hears of other boards.
	Finder discovery.Finder
	// Driver runs containers. It outlives the board's Run, as they do.
	Driver runtime.Driver
	// Keep keeps running what Driver needs, until ctx ends, and leaves it
	// running; nil where somebody else sees to that.
	Keep func(ctx context.Context) error
	// Images makes the board's share of the fleet's images.
	Images func(Neighbourhood) Images
	// Network and Logs serve the board's tasks.
	Network Network
	Logs    Logs
	// Interfaces are the board's own addresses.
	Interfaces Interfaces
	// Platform and Resources are the board's; what tasks may not have of it is
	// left out.
	Platform  api.Platform
	Resources api.Resources
	// Model and MemoryTotal are as in api.NodeDescription.
	Model       string
	MemoryTotal int64
	// Devices lists what is below /dev now; nil if there is nothing to report.
	Devices func() ([]api.BoardDevices, error)
	// Facts looks at the board, and at its disk's speed only if asked to: that
	// writes. nil if there is nothing to look at.
	Facts func(measureDisk bool) host.Facts
	// Wall is the board's wall clock, which may be off by decades; nil is the
	// system's. Durations are never measured by it.
	Wall func() time.Time
}

// Network gives tasks their place in the board's network, and makes those that
// span boards. Implemented by network.Local.
type Network interface {
	agent.Network
	Run(ctx context.Context) error
	// Subnets are those that tasks' networks must keep clear of on this board.
	Subnets() ([]netip.Prefix, error)
	// Mesh is the board's end of encrypted networks. TurnKey has it take a new key,
	// once every peer that it speaks with can hear of that.
	Mesh() api.MeshEnd
	TurnKey() error
	// Check tries the ways of networks, by name or ID, or of all.
	Check(ctx context.Context, of []string) api.NetworkCheck
}

// Images is a board's share of the fleet's images. Implemented by image.Store.
type Images interface {
	agent.Images
	// Serve hands blobs to other members until ctx ends.
	Serve(ctx context.Context, l transport.Listener) error
	// Fetch makes this board hold an image, for one platform or all, from
	// members that are known to hold it or, failing these, any.
	Fetch(ctx context.Context, image *api.Image, platform *api.Platform, from []api.NodeID) error
	// Holds tells whether this board holds an image, for all its platforms.
	Holds(ctx context.Context, image *api.Image) (bool, error)
	// Load takes in the images of an archive.
	Load(ctx context.Context, archive io.Reader) ([]*api.Image, error)
	// Pull fetches an image from its registry.
	Pull(ctx context.Context, reference string) (*api.Image, error)
}

// Neighbourhood is what a board's images need of its fleet.
type Neighbourhood interface {
	// DialBlob opens a stream to a member.
	DialBlob(ctx context.Context, node api.NodeID) (transport.Conn, error)
	// Neighbours are the members worth asking for a blob.
	Neighbours() []api.NodeID
	// Platforms are those of all boards of the fleet, as far as known.
	Platforms() []api.Platform
}

// Logs keeps what tasks write. Implemented by logs.Client.
type Logs interface {
	agent.Logs
	Run(ctx context.Context) error
	Read(ctx context.Context, q logs.Query) iter.Seq2[api.LogLine, error]
	Retain(ctx context.Context, tasks []api.TaskID) error
}

// Interfaces tell where a board can be reached.
type Interfaces interface {
	// Addrs are the addresses of the moment, best first.
	Addrs() ([]netip.Addr, error)
	// Watch calls changed whenever they may have changed, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}
