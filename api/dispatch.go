package api

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"
)

// DispatchServer is what the leader does for each member. Every other node
// answers NotLeader, naming the leader if it knows it.
type DispatchServer interface {
	// Session ties a node to its leader: the node reports, the leader assigns.
	// The first report has Hello. It ends when leadership does.
	Session(grpc.BidiStreamingServer[Report, Assignment]) error
	// RenewCertificate signs a member's certificate anew. The caller is known
	// by its present certificate; the request must be for the same ID.
	RenewCertificate(context.Context, *RenewRequest) (*Credentials, error)
	// Admit makes a node a member at the word of a manager that has checked its
	// proof (see room admission). Denied to a caller that is not a manager.
	// Admitting the same node with the same key again is answered anew.
	Admit(context.Context, *AdmitRequest) (*AdmitResponse, error)
	// Depart takes the calling node out of the fleet at its own wish.
	Depart(context.Context, *DepartRequest) (*Empty, error)
}

type (
	// Report is what an agent tells its leader. An empty one is a heartbeat.
	Report struct {
		Hello *Hello
		// Description is sent when it changed.
		Description *NodeDescription
		// Addrs are where the node listens, sent when they changed.
		Addrs []netip.AddrPort
		// Tasks are latest statuses, one for each task.
		Tasks []TaskReport
	}
	// TaskReport is a task's latest status.
	TaskReport struct {
		ID     TaskID
		Status TaskStatus
	}
	// Hello opens a session.
	Hello struct {
		Description NodeDescription
		Addrs       []netip.AddrPort
		// Have is the set the node holds; if the leader can continue from it,
		// it sends only what changed.
		Have SetID
		// Version of edged, and the newest feature level it can read.
		Level int
		// Parts is set by an agent that puts an assignment of several messages
		// together. One that does not is sent all in one, and nothing if that
		// is more than a message may hold.
		Parts bool `json:",omitempty"`
	}

	// SetID names a state of a node's assignment set. Seq is drawn from what
	// the set holds, so that a new leader can continue from a set it did not
	// send; it has no order, and 0 is a set that holds nothing yet.
	SetID struct {
		Epoch uint64
		Seq   uint64
	}

	// Assignment moves a node's set from Previous to Next. Full replaces the
	// set; otherwise Previous must be what the node holds, or it has missed
	// something and opens a new session. One without items is a lease only.
	//
	// What is too large for one message comes in several, one right after the
	// other, alike in Full, Previous and Next. They are one assignment, which
	// happens with the last of them or not at all: of a part, nothing can be
	// concluded about what it lacks.
	Assignment struct {
		// More is set on all parts but the last.
		More     bool `json:",omitempty"`
		Full     bool
		Previous SetID
		Next     SetID
		Set      []Item
		Removed  []ItemKey
		// Lease is how long from its arrival the node may take itself to be a
		// member in good standing.
		Lease time.Duration
		// HeartbeatPeriod is how often the leader wants to hear of the node.
		HeartbeatPeriod time.Duration
		// Time is the fleet's time at the leader.
		Time time.Time
	}
	// Item is one typed thing a node needs to live alone: exactly one field is set.
	Item struct {
		Task *Task `json:",omitempty"`
		// Image holds the manifests of an image that a task of the set needs.
		Image *Image `json:",omitempty"`
		// Secret and Config are what a task of the set sees as files.
		Secret *Secret `json:",omitempty"`
		Config *Config `json:",omitempty"`
		// Network is one that a task of the set is on, and Endpoint a service that
		// others of such a network reach.
		Network  *NetworkInfo `json:",omitempty"`
		Endpoint *Endpoint    `json:",omitempty"`
		// Peer is another member and where it is reached.
		Peer *Peer `json:",omitempty"`
		// Fleet is the fleet as far as members may know it.
		Fleet *FleetInfo `json:",omitempty"`
	}
	// ItemKey names an item: its kind ("task", "image", "secret", "config", "network", "endpoint", "peer", "fleet") and key.
	ItemKey struct{ Kind, Key string }
	// Peer is a member as the others know it.
	Peer struct {
		ID      NodeID
		Name    string
		Addrs   []netip.AddrPort
		Manager bool
		// Platform of its board; zero if it is not known.
		Platform Platform `json:",omitzero"`
		// Mesh is the board's end of encrypted networks; nil if it told of none.
		Mesh *MeshEnd `json:",omitempty"`
	}
	// FleetInfo is what every member knows of its fleet.
	FleetInfo struct {
		ID         FleetID
		Name       string
		RootCAPEM  []byte
		FoundedAt  time.Time
		Touched    bool
		FoldedInto FleetID  `json:",omitempty"`
		Role       NodeRole // what the operator wants of this node
		Voter      bool     // whether this node is meant to take part in raft
		// CertExpiry is how long the certificates last that the fleet gives now.
		CertExpiry time.Duration `json:",omitempty"`
		// Mesh is of this node's end of encrypted networks.
		Mesh FleetMesh `json:",omitzero"`
	}

	// RenewRequest asks for a new certificate.
	RenewRequest struct{ CSR []byte } // PKCS #10, DER
	// Credentials are a node's certificate and its issuer's.
	Credentials struct {
		CertPEM   []byte
		RootCAPEM []byte
	}
	// AdmitRequest vouches for a node.
	AdmitRequest struct {
		Node        NodeID
		CSR         []byte // PKCS #10, DER, by the node's own key
		Role        NodeRole
		Description NodeDescription
		Addrs       []netip.AddrPort
		// Renewal is set when the board's proof is an old certificate of the
		// fleet: it is certified anew if it still is a member, and else NotFound.
		Renewal bool `json:",omitempty"`
	}
	// AdmitResponse is all that a new member needs to find its way.
	AdmitResponse struct {
		Credentials Credentials
		Fleet       FleetInfo
		Peers       []Peer // managers first
	}
	// DepartRequest says goodbye.
	DepartRequest struct{ Force bool }
)

// Key returns the item's name.
func (i Item) Key() ItemKey {
	switch {
	case i.Task != nil:
		return ItemKey{"task", string(i.Task.ID)}
	case i.Image != nil:
		return ItemKey{"image", string(i.Image.ID)}
	case i.Secret != nil:
		return ItemKey{"secret", string(i.Secret.ID)}
	case i.Config != nil:
		return ItemKey{"config", string(i.Config.ID)}
	case i.Network != nil:
		return ItemKey{"network", string(i.Network.ID)}
	case i.Endpoint != nil:
		return ItemKey{"endpoint", string(i.Endpoint.Network) + "/" + string(i.Endpoint.Service)}
	case i.Peer != nil:
		return ItemKey{"peer", string(i.Peer.ID)}
	case i.Fleet != nil:
		return ItemKey{"fleet", string(i.Fleet.ID)}
	default:
		return ItemKey{}
	}
}

const dispatchService = "edge.v1.Dispatch"

// DispatchDesc is the service's wire definition.
var DispatchDesc = grpc.ServiceDesc{
	ServiceName: dispatchService, HandlerType: (*DispatchServer)(nil),
	Methods: []grpc.MethodDesc{
		unary("RenewCertificate", DispatchServer.RenewCertificate),
		unary("Admit", DispatchServer.Admit),
		unary("Depart", DispatchServer.Depart),
	},
	Streams: []grpc.StreamDesc{duplex("Session", DispatchServer.Session)},
}

// DispatchClient speaks Dispatch over a connection made with DialOptions.
type DispatchClient struct{ cc grpc.ClientConnInterface }

// NewDispatchClient wraps a connection; the caller keeps it and closes it.
func NewDispatchClient(cc grpc.ClientConnInterface) *DispatchClient { return &DispatchClient{cc} }

const dispatch = "/" + dispatchService + "/"

// Session calls DispatchServer.Session.
func (c *DispatchClient) Session(ctx context.Context) (grpc.BidiStreamingClient[Report, Assignment], error) {
	return open[Report, Assignment](ctx, c.cc, DispatchDesc.Streams[0], dispatch+"Session")
}

// RenewCertificate calls DispatchServer.RenewCertificate.
func (c *DispatchClient) RenewCertificate(ctx context.Context, r *RenewRequest) (*Credentials, error) {
	return invoke[Credentials](ctx, c.cc, dispatch+"RenewCertificate", r)
}

// Admit calls DispatchServer.Admit.
func (c *DispatchClient) Admit(ctx context.Context, r *AdmitRequest) (*AdmitResponse, error) {
	return invoke[AdmitResponse](ctx, c.cc, dispatch+"Admit", r)
}

// Depart calls DispatchServer.Depart.
func (c *DispatchClient) Depart(ctx context.Context, r *DepartRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, dispatch+"Depart", r)
}
