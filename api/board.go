package api

import (
	"context"
	"net/netip"
	"time"

	"google.golang.org/grpc"
)

// BoardServer is what one node can be asked of itself, over its local socket
// by anybody who may open it, and over QUIC by the other members.
type BoardServer interface {
	// GetBoard answers what the node knows of itself and its fleet, with no
	// manager reachable too, and before it is a member.
	GetBoard(context.Context, *Empty) (*BoardStatus, error)
	// WhoLeads answers at once which node leads, as far as this one knows.
	WhoLeads(context.Context, *Empty) (*LeaderHint, error)
	// Examine judges how fit the node, or another member, is to do its part: its
	// kernel, disk, power, clock and network.
	Examine(context.Context, *ExamineRequest) (*Examination, error)
	// Init founds a fleet with this node as its first. Local socket only.
	Init(context.Context, *InitRequest) (*InitResponse, error)
	// Join enters a fleet by token. Local socket only.
	Join(context.Context, *JoinRequest) (*Empty, error)
	// Leave ends the membership and forgets the fleet. Local socket only.
	Leave(context.Context, *LeaveRequest) (*Empty, error)
	// Waiting lists the boards with neither key nor token that wait at the fleet's
	// doors. Accept lets one in by the code that it shows; NotFound if none waits
	// with it. The node that is asked asks the managers.
	Waiting(context.Context, *WaitingRequest) (*WaitingResponse, error)
	Accept(context.Context, *AcceptRequest) (*AcceptResponse, error)

	// LoadImage takes an archive (OCI layout or docker-save, plain or gzip) in
	// chunks and puts its images into the fleet. The first chunk may be empty.
	LoadImage(grpc.BidiStreamingServer[Chunk, ImageProgress]) error
	// PullImage fetches an image from a registry and puts it into the fleet.
	PullImage(*PullImageRequest, grpc.ServerStreamingServer[ImageProgress]) error
	// FetchImage makes this node hold an image's blobs, from neighbours.
	FetchImage(context.Context, *FetchImageRequest) (*Empty, error)

	// Logs streams what a service's or a task's processes wrote. The node that
	// is asked gathers it from the boards that hold it.
	Logs(*LogsRequest, grpc.ServerStreamingServer[LogLine]) error
	// Usage tells what tasks take of their boards. The node that is asked gathers
	// it from the boards.
	Usage(context.Context, *UsageRequest) (*UsageResponse, error)
	// CheckNetworks tries every way of networks that span boards. The node that is
	// asked has all boards do it.
	CheckNetworks(context.Context, *NetworkCheckRequest) (*NetworkCheckResponse, error)
	// Volumes tells which boards hold volumes. The node that is asked gathers it.
	Volumes(context.Context, *VolumesRequest) (*VolumesResponse, error)
	// RemoveVolume deletes a volume of any board. Conflict while services name
	// it, unless forced, and while tasks use it; Unavailable if its board is down.
	RemoveVolume(context.Context, *RemoveVolumeRequest) (*Empty, error)
	// Exec runs a process in a running task of any board.
	Exec(grpc.BidiStreamingServer[ExecInput, ExecOutput]) error
}

type (
	// BoardStatus is a node's own account of itself.
	BoardStatus struct {
		NodeID     NodeID
		Hostname   string
		Version    string
		Membership MembershipState
		// Message says in words what the board waits for, or what is wrong.
		Message     string
		FleetID     FleetID
		FleetName   string
		Leader      NodeID
		LeaderName  string
		Manager     bool
		Voters      int
		Addr        string // host:port it is reached at
		CertExpires time.Time
		Description NodeDescription
		Tasks       []TaskBrief
		StateDir    string
		StartedAt   time.Time
		// Candidates counts boards with the same fleet key seen on the LAN and
		// not yet members.
		Candidates int
		// Rivals are other fleets of the same key that were met and can't be folded.
		Rivals []FleetID
		// Troubled are boards of no fleet that say on the LAN what is wrong with
		// them, a few at most. It is a hint: nothing of it is proven.
		Troubled []TroubledBoard
	}
	// TroubledBoard is what such a board says of itself.
	TroubledBoard struct {
		NodeID   NodeID
		Hostname string
		Addr     string // host:port it was heard at, "" if none
		Trouble  string
	}
	// MembershipState is how a board stands towards a fleet.
	MembershipState string
	// TaskBrief is a task as the agent sees it.
	TaskBrief struct {
		ID          TaskID
		ServiceName string
		Slot        int
		Status      TaskStatus
	}

	// LeaderHint names the leader, "" if none is known. Self is set when the
	// node that answers is it.
	LeaderHint struct {
		Leader NodeID
		Self   bool
	}

	// InitRequest founds a fleet.
	InitRequest struct {
		Name          string
		AdvertiseAddr string // host or host:port to be reached at; "" finds out
		// FleetKey becomes the fleet's key; "" is the board's own, or a new one.
		FleetKey string
		Force    bool // also on a board that was a member before
	}
	// InitResponse names the new fleet.
	InitResponse struct {
		NodeID      NodeID
		FleetID     FleetID
		FleetKey    string
		WorkerToken string
		Addr        string
	}
	// JoinRequest enters a fleet.
	JoinRequest struct {
		Token         string
		Addrs         []string // host[:port] of any members; port 2377 if absent
		AdvertiseAddr string
	}
	// LeaveRequest ends a membership; a manager, or a board with no manager
	// reachable, needs Force.
	LeaveRequest struct{ Force bool }

	// Chunk is a piece of a stream, at most 256 KiB.
	Chunk struct{ Data []byte }
	// ImageProgress tells how an image comes along; the last has Done.
	ImageProgress struct {
		Status  string // "loading", "copying to board2", …
		Current int64  // bytes
		Total   int64  // bytes; 0 unknown
		Done    bool
		Images  []*Image // with Done
		Copies  []NodeID // with Done
	}
	// PullImageRequest names an image as Docker reads it.
	PullImageRequest struct {
		RequestID RequestID
		Reference string
	}
	// FetchImageRequest describes an image of the fleet. All platforms are
	// fetched unless one is named.
	FetchImageRequest struct {
		Image    *Image
		Platform *Platform
		From     []NodeID // who is known to hold it; asked first
		// Ask fetches nothing: NotFound answers that the image is not all here.
		Ask bool `json:",omitempty"`
	}

	// LogsRequest asks for lines of a service or of one task.
	LogsRequest struct {
		Service, Task string
		Follow        bool
		Tail          int       // last lines of each task; negative: all
		Since         time.Time `json:",omitzero"`
		// Local asks only for what this board holds.
		Local bool
		// From is where to go on with the lines of one task, instead of Tail: the
		// Place of the last line that was read. With Local only.
		From *LogPlace `json:",omitempty"`
	}
	// LogPlace is a place among the lines that a board keeps of a task. It means
	// nothing on another.
	LogPlace struct {
		File uint64
		At   int64
	}
	// LogLine is a line of a task's output, without its line feed.
	LogLine struct {
		Time    time.Time
		Stream  string // "stdout" or "stderr"
		Data    []byte
		TaskID  TaskID
		NodeID  NodeID
		Service string
		Slot    int
		// Partial marks a piece of a line longer than 16 KiB; more follows.
		Partial bool
		// Place is behind the line; nil for a line that is kept nowhere.
		Place *LogPlace `json:",omitempty"`
	}

	// ExecInput is the start of an exec (first message) or input to it.
	ExecInput struct {
		Start  *ExecStart
		Data   []byte
		EOF    bool
		Resize *TerminalSize
	}
	// ExecStart says what to run where.
	ExecStart struct {
		Task    string // ID, prefix, or service.slot
		Command []string
		Env     []string
		Dir     string
		User    string
		TTY     bool
		Stdin   bool
		Size    *TerminalSize
	}
	// TerminalSize in characters.
	TerminalSize struct{ Width, Height uint16 }
	// ExecOutput is output of an exec; the last message has Exit.
	ExecOutput struct {
		Stream string
		Data   []byte
		Exit   *int
	}
)

// Membership states.
const (
	// MembershipNone: neither key nor token, never a member.
	MembershipNone MembershipState = "none"
	// MembershipSeeking: looks for its fleet, or for others to found it with.
	MembershipSeeking MembershipState = "seeking"
	// MembershipMember: belongs to a fleet, whether it can reach it or not.
	MembershipMember MembershipState = "member"
	// MembershipRemoved: the fleet has removed this board.
	MembershipRemoved MembershipState = "removed"
)

// DefaultPort is the one UDP port, and Swarm's.
const DefaultPort = 2377

// ManagerAddr is a manager and where it was last reached.
type ManagerAddr struct {
	ID    NodeID
	Addrs []netip.AddrPort
}

const boardService = "edge.v1.Board"

// BoardDesc is the service's wire definition.
var BoardDesc = grpc.ServiceDesc{
	ServiceName: boardService, HandlerType: (*BoardServer)(nil),
	Methods: []grpc.MethodDesc{
		unary("GetBoard", BoardServer.GetBoard),
		unary("WhoLeads", BoardServer.WhoLeads),
		unary("Examine", BoardServer.Examine),
		unary("Init", BoardServer.Init),
		unary("Join", BoardServer.Join),
		unary("Leave", BoardServer.Leave),
		unary("Waiting", BoardServer.Waiting),
		unary("Accept", BoardServer.Accept),
		unary("FetchImage", BoardServer.FetchImage),
		unary("Usage", BoardServer.Usage),
		unary("CheckNetworks", BoardServer.CheckNetworks),
		unary("Volumes", BoardServer.Volumes),
		unary("RemoveVolume", BoardServer.RemoveVolume),
	},
	Streams: []grpc.StreamDesc{
		duplex("LoadImage", BoardServer.LoadImage),
		download("PullImage", BoardServer.PullImage),
		download("Logs", BoardServer.Logs),
		duplex("Exec", BoardServer.Exec),
	},
}

// BoardClient speaks Board over a connection made with DialOptions.
type BoardClient struct{ cc grpc.ClientConnInterface }

// NewBoardClient wraps a connection; the caller keeps it and closes it.
func NewBoardClient(cc grpc.ClientConnInterface) *BoardClient { return &BoardClient{cc} }

const board = "/" + boardService + "/"

// GetBoard calls BoardServer.GetBoard.
func (c *BoardClient) GetBoard(ctx context.Context) (*BoardStatus, error) {
	return invoke[BoardStatus](ctx, c.cc, board+"GetBoard", &Empty{})
}

// WhoLeads calls BoardServer.WhoLeads.
func (c *BoardClient) WhoLeads(ctx context.Context) (*LeaderHint, error) {
	return invoke[LeaderHint](ctx, c.cc, board+"WhoLeads", &Empty{})
}

// Examine calls BoardServer.Examine.
func (c *BoardClient) Examine(ctx context.Context, r *ExamineRequest) (*Examination, error) {
	return invoke[Examination](ctx, c.cc, board+"Examine", r)
}

// Init calls BoardServer.Init.
func (c *BoardClient) Init(ctx context.Context, r *InitRequest) (*InitResponse, error) {
	return invoke[InitResponse](ctx, c.cc, board+"Init", r)
}

// Join calls BoardServer.Join.
func (c *BoardClient) Join(ctx context.Context, r *JoinRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, board+"Join", r)
}

// Leave calls BoardServer.Leave.
func (c *BoardClient) Leave(ctx context.Context, r *LeaveRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, board+"Leave", r)
}

// FetchImage calls BoardServer.FetchImage.
func (c *BoardClient) FetchImage(ctx context.Context, r *FetchImageRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, board+"FetchImage", r)
}

// CheckNetworks calls BoardServer.CheckNetworks.
func (c *BoardClient) CheckNetworks(ctx context.Context, r *NetworkCheckRequest) (*NetworkCheckResponse, error) {
	return invoke[NetworkCheckResponse](ctx, c.cc, board+"CheckNetworks", r)
}

// Usage calls BoardServer.Usage.
func (c *BoardClient) Usage(ctx context.Context, r *UsageRequest) (*UsageResponse, error) {
	return invoke[UsageResponse](ctx, c.cc, board+"Usage", r)
}

// Volumes calls BoardServer.Volumes.
func (c *BoardClient) Volumes(ctx context.Context, r *VolumesRequest) (*VolumesResponse, error) {
	return invoke[VolumesResponse](ctx, c.cc, board+"Volumes", r)
}

// RemoveVolume calls BoardServer.RemoveVolume.
func (c *BoardClient) RemoveVolume(ctx context.Context, r *RemoveVolumeRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, board+"RemoveVolume", r)
}

// LoadImage calls BoardServer.LoadImage.
func (c *BoardClient) LoadImage(ctx context.Context) (grpc.BidiStreamingClient[Chunk, ImageProgress], error) {
	return open[Chunk, ImageProgress](ctx, c.cc, BoardDesc.Streams[0], board+"LoadImage")
}

// PullImage calls BoardServer.PullImage.
func (c *BoardClient) PullImage(ctx context.Context, r *PullImageRequest) (grpc.ServerStreamingClient[ImageProgress], error) {
	return openDownload[PullImageRequest, ImageProgress](ctx, c.cc, BoardDesc.Streams[1], board+"PullImage", r)
}

// Logs calls BoardServer.Logs.
func (c *BoardClient) Logs(ctx context.Context, r *LogsRequest) (grpc.ServerStreamingClient[LogLine], error) {
	return openDownload[LogsRequest, LogLine](ctx, c.cc, BoardDesc.Streams[2], board+"Logs", r)
}

// Exec calls BoardServer.Exec.
func (c *BoardClient) Exec(ctx context.Context) (grpc.BidiStreamingClient[ExecInput, ExecOutput], error) {
	return open[ExecInput, ExecOutput](ctx, c.cc, BoardDesc.Streams[3], board+"Exec")
}
