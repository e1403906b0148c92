package api

import (
	"net/netip"
	"time"
)

// NodeRole is what the operator wants of a node in the fleet's government.
type NodeRole string

// Roles. RoleAuto leaves it to the fleet: the node votes when it is needed.
const (
	RoleAuto    NodeRole = "auto"
	RoleManager NodeRole = "manager"
	RoleWorker  NodeRole = "worker"
)

// Availability says whether a node takes tasks.
type Availability string

// Availabilities, as in Swarm.
const (
	AvailabilityActive Availability = "active"
	AvailabilityPause  Availability = "pause"
	AvailabilityDrain  Availability = "drain"
)

// NodeState is what the leader last concluded about a node. It never changes
// the state of the node's tasks.
type NodeState string

// Node states.
const (
	NodeUnknown NodeState = "unknown"
	NodeReady   NodeState = "ready"
	NodeDown    NodeState = "down"
)

// Node is a board of the fleet.
type Node struct {
	ID NodeID
	Meta
	Spec NodeSpec
	// PublicKey is the key that the board proved when it was admitted (PKIX,
	// DER): another board can't be admitted, nor certified, under this ID.
	PublicKey []byte `json:",omitempty"`
	// Description is what the board last said of itself.
	Description NodeDescription
	Status      NodeStatus
	// ManagerStatus is filled in when a node is read, never stored: who leads
	// and who votes is raft's to say.
	ManagerStatus *ManagerStatus `json:",omitempty"`
}

// NodeSpec is what the operator wants of a node.
type NodeSpec struct {
	Annotations
	Role         NodeRole
	Availability Availability
}

// NodeDescription is a board's own account of itself.
type NodeDescription struct {
	Hostname  string
	Platform  Platform
	Resources Resources
	Engine    EngineDescription
	// BootID changes with every boot of the board.
	BootID string
	// Model is the name that the board's maker gave it: "Raspberry Pi 4 Model B
	// Rev 1.4"; "" if it has none.
	Model string `json:",omitempty"`
	// MemoryTotal is all of the board's memory that Linux has, in bytes;
	// Resources has what of it tasks may use.
	MemoryTotal int64 `json:",omitempty"`
	// Subnets that the board reaches by links of its own, but for those of the
	// fleet's networks: no network may overlap one.
	Subnets []netip.Prefix `json:",omitempty"`
	// Mesh is the board's end of encrypted networks.
	Mesh MeshEnd `json:",omitzero"`
	// Devices the board has now, by class; but for ordinary ones (see
	// OrdinaryDevice).
	Devices []BoardDevices `json:",omitempty"`
	// Volumes that the board holds, in order of name; see MaxVolumes.
	Volumes []string `json:",omitempty"`
	// Trouble is what ails the board's part in the fleet's government, "" if
	// nothing does: a manager whose disk is full can't lead, and says so here.
	// Whether it can run tasks is in Engine.
	Trouble string `json:",omitempty"`
}

// Platform names what binaries a board runs or an image holds, in OCI's words.
type Platform struct {
	Architecture string
	OS           string
	Variant      string `json:",omitempty"`
}

func (p Platform) String() string {
	if p.Variant != "" {
		return p.OS + "/" + p.Architecture + "/" + p.Variant
	}
	return p.OS + "/" + p.Architecture
}

// Resources are amounts: a node's allocatable ones, a task's limits or reservations.
type Resources struct {
	NanoCPUs    int64 `json:",omitempty"` // 1e9 is one core
	MemoryBytes int64 `json:",omitempty"`
	Pids        int64 `json:",omitempty"` // most processes and threads; as a limit only
	// GenericResources are never a limit: only what a node has, or a task reserves.
	GenericResources []GenericResource `json:",omitempty"`
}

// EngineDescription says what runs the board's tasks.
type EngineDescription struct {
	EngineVersion string // edged's version
	Runtime       string // "containerd 1.6.20"
	// RuntimeError is why tasks can't be run now, "" when they can.
	RuntimeError string `json:",omitempty"`
}

// NodeStatus is what the leader concluded about a node. Last-seen times are
// soft state and not here: an idle fleet writes nothing.
type NodeStatus struct {
	State   NodeState
	Message string    `json:",omitempty"`
	Since   time.Time // when State was concluded, fleet time
	Addrs   []netip.AddrPort
}

// Reachability is whether a manager answers its leader.
type Reachability string

// Reachabilities, as in Swarm.
const (
	Reachable   Reachability = "reachable"
	Unreachable Reachability = "unreachable"
)

// ManagerStatus is a node's part in the fleet's government.
type ManagerStatus struct {
	Leader       bool
	Voter        bool // false while it is catching up
	Reachability Reachability
	Addr         string
}

// Key returns the node's ID.
func (n *Node) Key() string { return string(n.ID) }

// Head returns the object's metadata.
func (n *Node) Head() *Meta { return &n.Meta }

// Name returns what people call the node: its given name, else its hostname.
func (n *Node) Name() string {
	if n.Spec.Name != "" {
		return n.Spec.Name
	}
	return n.Description.Hostname
}
