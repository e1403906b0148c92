package agent

import (
	"context"

	"github.com/edgeswarm/edgeswarm/api"
)

// Images makes a task's image complete on this board. Implemented by image.Store.
type Images interface {
	// Ensure fetches what is missing of the image for this board's platform:
	// from neighbours first, and returns the digest of the manifest to run. It
	// returns an *api.Error: Unavailable if a later try may do better.
	Ensure(ctx context.Context, image *api.Image) (api.ImageID, error)
}

// Network gives tasks their place in the network. Implemented by network.Local.
type Network interface {
	// Attach makes the task's namespace, address, routes and published ports,
	// or finds them as they were made: it may be repeated.
	Attach(ctx context.Context, task *api.Task) (Attachment, error)
	// Detach takes all that away again. It may be repeated.
	Detach(ctx context.Context, task api.TaskID) error
	// Retain detaches every task that is not named: what a crash left behind.
	Retain(ctx context.Context, tasks []api.TaskID) error
	// Learn takes in what the set says of networks that span boards, which is
	// made to be so on this board soon after, and kept so. It does not block.
	// Before the first word nothing of them is touched.
	Learn(Fabric)
}

// Fabric is all that a board must know of networks that span boards.
type Fabric struct {
	Node api.NodeID
	// Fleet is the one that the board is in, and Mesh what it tells the board of
	// its end of encrypted networks.
	Fleet api.FleetID
	Mesh  api.FleetMesh
	// Networks are those of tasks on this board, Endpoints the services on them.
	Networks  []*api.NetworkInfo
	Endpoints []*api.Endpoint
	// Peers are the other members, Tasks those of this board.
	Peers []api.Peer
	Tasks []*api.Task
}

// Attachment is a task's place in the network.
type Attachment struct {
	NetNS string // path; "" shares the board's
	// ResolvConf, Hosts and HostnameFile are paths to bind over the task's own.
	ResolvConf, Hosts, HostnameFile string
	// Addr is where the board reaches the task; "" with the board's own network.
	Addr string
}

// Logs keeps what tasks write. Implemented by logs.Client.
type Logs interface {
	// Open makes the two FIFOs of an attempt and sees that they are read, also
	// after this process has ended. It may be repeated.
	Open(ctx context.Context, task *api.Task, attempt int) (stdout, stderr string, err error)
	// Close lets go of an attempt's FIFOs once they are drained.
	Close(ctx context.Context, task api.TaskID, attempt int) error
	// Remove deletes a task's lines.
	Remove(ctx context.Context, task api.TaskID) error
}
