package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// ControlServer is what the fleet as a whole can be asked. The leader answers;
// every other node forwards, one hop. Reads are of committed state, with the
// leader's live knowledge of tasks and nodes laid over it.
//
// Every writing request has a RequestID: a retry with the same one is answered
// as the first was, also by another leader. Errors are *Error.
type ControlServer interface {
	// GetCluster answers the fleet's object without its secrets.
	GetCluster(context.Context, *GetClusterRequest) (*GetClusterResponse, error)
	UpdateCluster(context.Context, *UpdateClusterRequest) (*UpdateClusterResponse, error)
	// GetJoinToken answers a role's join token, made anew when Rotate is set.
	GetJoinToken(context.Context, *GetJoinTokenRequest) (*GetJoinTokenResponse, error)

	ListNodes(context.Context, *ListNodesRequest) (*ListNodesResponse, error)
	GetNode(context.Context, *GetNodeRequest) (*GetNodeResponse, error)
	UpdateNode(context.Context, *UpdateNodeRequest) (*UpdateNodeResponse, error)
	RemoveNode(context.Context, *RemoveNodeRequest) (*Empty, error)

	CreateService(context.Context, *CreateServiceRequest) (*CreateServiceResponse, error)
	ListServices(context.Context, *ListServicesRequest) (*ListServicesResponse, error)
	GetService(context.Context, *GetServiceRequest) (*GetServiceResponse, error)
	UpdateService(context.Context, *UpdateServiceRequest) (*UpdateServiceResponse, error)
	RollbackService(context.Context, *RollbackServiceRequest) (*UpdateServiceResponse, error)
	RemoveService(context.Context, *RemoveServiceRequest) (*Empty, error)
	// RebalanceServices evens out over the nodes what runs already.
	RebalanceServices(context.Context, *RebalanceServicesRequest) (*RebalanceServicesResponse, error)
	// ForecastService tells what a change of a service would do.
	ForecastService(context.Context, *ForecastServiceRequest) (*ForecastServiceResponse, error)

	ListTasks(context.Context, *ListTasksRequest) (*ListTasksResponse, error)
	GetTask(context.Context, *GetTaskRequest) (*GetTaskResponse, error)

	ListImages(context.Context, *ListImagesRequest) (*ListImagesResponse, error)
	// RegisterImage records an image whose blobs the calling node holds. It
	// returns once a second node holds them too, where there is one.
	RegisterImage(context.Context, *RegisterImageRequest) (*RegisterImageResponse, error)

	// WatchService streams a service with its tasks, at once and whenever
	// either changes, until it is gone or the caller leaves. Changes that come
	// faster than they are read are merged: each message is the latest.
	WatchService(*GetServiceRequest, grpc.ServerStreamingServer[ServiceProgress]) error
	// WatchEvents streams what became of the fleet's objects. None is left out:
	// a reader that falls so far behind that some are gone is told so.
	WatchEvents(*EventsRequest, grpc.ServerStreamingServer[EventsPage]) error
}

// Lookups name a thing by ID, by an unambiguous prefix of it (at least 4
// characters), or by name. NotFound and Conflict (ambiguous, naming the IDs).
type (
	// GetClusterRequest asks for the fleet.
	GetClusterRequest struct{}
	// GetClusterResponse is the fleet, without secrets.
	GetClusterResponse struct {
		Cluster *Cluster
		// Voters and what the fleet can survive, in raft's live view.
		Voters, ReachableVoters int
		Leader                  NodeID
	}
	// UpdateClusterRequest replaces the spec.
	UpdateClusterRequest struct {
		RequestID RequestID
		Version   Version // zero: whatever it is now
		Spec      ClusterSpec
	}
	// UpdateClusterResponse is the fleet after the change.
	UpdateClusterResponse struct{ Cluster *Cluster }

	// GetJoinTokenRequest asks for the token of a role.
	GetJoinTokenRequest struct {
		RequestID RequestID
		Role      NodeRole // worker or manager
		Rotate    bool
		TTL       time.Duration // with Rotate: how long the new one works; 0 for ever
	}
	// GetJoinTokenResponse is a token and where to use it.
	GetJoinTokenResponse struct {
		Token   string
		Expires time.Time `json:",omitzero"`
		Addrs   []string  // managers' host:port
	}

	// ListNodesRequest asks for all nodes.
	ListNodesRequest struct {
		// Paged asks for as many as go in one message, from behind the node of
		// that name and ID ("" is the beginning). ControlClient sees to it.
		Paged     bool   `json:",omitempty"`
		AfterName string `json:",omitempty"`
		AfterID   NodeID `json:",omitempty"`
	}
	// ListNodesResponse has them in order of name, and of ID.
	ListNodesResponse struct {
		Nodes []*Node
		More  bool `json:",omitempty"` // of a page: others follow
	}
	// GetNodeRequest names a node; "self" is the node that is asked.
	GetNodeRequest struct{ Node string }
	// GetNodeResponse is it.
	GetNodeResponse struct{ Node *Node }
	// UpdateNodeRequest changes what is set; nil is unchanged.
	UpdateNodeRequest struct {
		RequestID    RequestID
		Node         string
		Version      Version // zero: whatever it is now
		Role         *NodeRole
		Availability *Availability
		Name         *string
		LabelAdd     map[string]string
		LabelRemove  []string
	}
	// UpdateNodeResponse is the node after the change.
	UpdateNodeResponse struct{ Node *Node }
	// RemoveNodeRequest forgets a node; one that is not down needs Force.
	RemoveNodeRequest struct {
		RequestID RequestID
		Node      string
		Force     bool
	}

	// CreateServiceRequest declares a service.
	CreateServiceRequest struct {
		RequestID RequestID
		Spec      ServiceSpec
	}
	// CreateServiceResponse is the new service, its image pinned.
	CreateServiceResponse struct {
		Service  *Service
		Warnings []string
	}
	// ListServicesRequest asks for all services.
	ListServicesRequest struct {
		// Paged asks for as many as go in one message, from behind the service
		// of the name After ("" is the beginning). ControlClient sees to both.
		Paged bool   `json:",omitempty"`
		After string `json:",omitempty"`
	}
	// ListServicesResponse has them in order of name, with live counts.
	ListServicesResponse struct {
		Services []ServiceSummary
		More     bool `json:",omitempty"` // of a page: others follow
	}
	// ServiceSummary is a service and how far it has come.
	ServiceSummary struct {
		Service *Service
		Running uint64 // tasks observed running
		Desired uint64 // tasks wanted
		// Completed of a job's Total are done in its present run.
		Completed, Total uint64
	}
	// GetServiceRequest names a service.
	GetServiceRequest struct {
		Service string
		// Parts is set by a watcher that takes a moment in several messages: see
		// ServiceProgress. ControlClient sees to it.
		Parts bool `json:",omitempty"`
	}
	// GetServiceResponse is it.
	GetServiceResponse struct {
		Service *Service
	}
	// UpdateServiceRequest merges Patch into the spec on the leader.
	UpdateServiceRequest struct {
		RequestID RequestID
		Service   string
		Version   Version // zero: whatever it is now
		Patch     ServicePatch
	}
	// UpdateServiceResponse is the service after the change.
	UpdateServiceResponse struct {
		Service  *Service
		Warnings []string
	}
	// RollbackServiceRequest returns a service to its previous spec.
	RollbackServiceRequest struct {
		RequestID RequestID
		Service   string
	}
	// RemoveServiceRequest ends a service and its tasks.
	RemoveServiceRequest struct {
		RequestID RequestID
		Service   string
	}

	// ListTasksRequest asks for tasks; empty filters match all.
	ListTasksRequest struct {
		Service string
		Node    string
		// Current leaves out tasks that are history.
		Current bool
		// Paged asks for as many as go in one message, their specs in brief (see
		// TaskSpec.Brief), from behind After, of which the place in the order is
		// enough (nil is the beginning). ControlClient sees to both.
		Paged bool  `json:",omitempty"`
		After *Task `json:",omitempty"`
	}
	// ListTasksResponse has them by service, slot, newest first.
	ListTasksResponse struct {
		Tasks []*Task
		More  bool `json:",omitempty"` // of a page: others follow
	}
	// GetTaskRequest names a task by ID or "service.slot".
	GetTaskRequest struct{ Task string }
	// GetTaskResponse is it.
	GetTaskResponse struct{ Task *Task }

	// ListImagesRequest asks for all images.
	ListImagesRequest struct {
		// Paged asks for as many as go in one message, from behind the image of
		// those names and that ID (none is the beginning). ControlClient sees to it.
		Paged      bool     `json:",omitempty"`
		AfterNames []string `json:",omitempty"`
		AfterID    ImageID  `json:",omitempty"`
	}
	// ListImagesResponse has them in order of name, and of ID.
	ListImagesResponse struct {
		Images []*Image
		More   bool `json:",omitempty"` // of a page: others follow
	}
	// RegisterImageRequest describes an image that Holder has complete.
	RegisterImageRequest struct {
		RequestID RequestID
		Image     Image
		Holder    NodeID
	}
	// RegisterImageResponse says where it is now; one copy only if there is one node.
	RegisterImageResponse struct {
		Image  *Image
		Copies []NodeID
	}

	// ServiceProgress is a service and its tasks at one moment. To a watcher
	// that asks for parts, the tasks' specs are brief, a task that is Current has
	// the service's own SpecVersion, and what is too large for one message comes
	// in several, one right after the other: each has some of the tasks, and the
	// last has all else.
	ServiceProgress struct {
		// More is set on all parts but the last.
		More    bool     `json:",omitempty"`
		Service *Service // nil once it is gone
		Tasks   []*Task
		Nodes   map[NodeID]string // names of the nodes that the tasks are on
		// Converged is set when every wanted task of the current spec runs, and
		// no update is under way.
		Converged bool
	}
)

const controlService = "edge.v1.Control"

// ControlDesc is the service's wire definition.
var ControlDesc = grpc.ServiceDesc{
	ServiceName: controlService, HandlerType: (*ControlServer)(nil),
	Methods: []grpc.MethodDesc{
		unary("GetCluster", ControlServer.GetCluster),
		unary("UpdateCluster", ControlServer.UpdateCluster),
		unary("GetJoinToken", ControlServer.GetJoinToken),
		unary("ListNodes", ControlServer.ListNodes),
		unary("GetNode", ControlServer.GetNode),
		unary("UpdateNode", ControlServer.UpdateNode),
		unary("RemoveNode", ControlServer.RemoveNode),
		unary("CreateService", ControlServer.CreateService),
		unary("ListServices", ControlServer.ListServices),
		unary("GetService", ControlServer.GetService),
		unary("UpdateService", ControlServer.UpdateService),
		unary("RollbackService", ControlServer.RollbackService),
		unary("RemoveService", ControlServer.RemoveService),
		unary("RebalanceServices", ControlServer.RebalanceServices),
		unary("ForecastService", ControlServer.ForecastService),
		unary("ListTasks", ControlServer.ListTasks),
		unary("GetTask", ControlServer.GetTask),
		unary("ListImages", ControlServer.ListImages),
		unary("RegisterImage", ControlServer.RegisterImage),
	},
	Streams: []grpc.StreamDesc{
		download("WatchService", ControlServer.WatchService),
		download("WatchEvents", ControlServer.WatchEvents),
	},
}

// ControlClient speaks Control over a connection made with DialOptions.
type ControlClient struct{ cc grpc.ClientConnInterface }

// NewControlClient wraps a connection; the caller keeps it and closes it.
func NewControlClient(cc grpc.ClientConnInterface) *ControlClient { return &ControlClient{cc} }

const control = "/" + controlService + "/"

// GetCluster calls ControlServer.GetCluster.
func (c *ControlClient) GetCluster(ctx context.Context, r *GetClusterRequest) (*GetClusterResponse, error) {
	return invoke[GetClusterResponse](ctx, c.cc, control+"GetCluster", r)
}

// UpdateCluster calls ControlServer.UpdateCluster.
func (c *ControlClient) UpdateCluster(ctx context.Context, r *UpdateClusterRequest) (*UpdateClusterResponse, error) {
	return invoke[UpdateClusterResponse](ctx, c.cc, control+"UpdateCluster", r)
}

// GetJoinToken calls ControlServer.GetJoinToken.
func (c *ControlClient) GetJoinToken(ctx context.Context, r *GetJoinTokenRequest) (*GetJoinTokenResponse, error) {
	return invoke[GetJoinTokenResponse](ctx, c.cc, control+"GetJoinToken", r)
}

// ListNodes calls ControlServer.ListNodes, page by page, and answers all.
func (c *ControlClient) ListNodes(ctx context.Context, _ *ListNodesRequest) (*ListNodesResponse, error) {
	page, all := ListNodesRequest{Paged: true}, &ListNodesResponse{}
	for {
		resp, err := invoke[ListNodesResponse](ctx, c.cc, control+"ListNodes", &page)
		if err != nil {
			return nil, err
		}
		all.Nodes = append(all.Nodes, resp.Nodes...)
		if !resp.More || len(resp.Nodes) == 0 {
			return all, nil
		}
		last := resp.Nodes[len(resp.Nodes)-1]
		page.AfterName, page.AfterID = last.Name(), last.ID
	}
}

// GetNode calls ControlServer.GetNode.
func (c *ControlClient) GetNode(ctx context.Context, r *GetNodeRequest) (*GetNodeResponse, error) {
	return invoke[GetNodeResponse](ctx, c.cc, control+"GetNode", r)
}

// UpdateNode calls ControlServer.UpdateNode.
func (c *ControlClient) UpdateNode(ctx context.Context, r *UpdateNodeRequest) (*UpdateNodeResponse, error) {
	return invoke[UpdateNodeResponse](ctx, c.cc, control+"UpdateNode", r)
}

// RemoveNode calls ControlServer.RemoveNode.
func (c *ControlClient) RemoveNode(ctx context.Context, r *RemoveNodeRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, control+"RemoveNode", r)
}

// CreateService calls ControlServer.CreateService.
func (c *ControlClient) CreateService(ctx context.Context, r *CreateServiceRequest) (*CreateServiceResponse, error) {
	return invoke[CreateServiceResponse](ctx, c.cc, control+"CreateService", r)
}

// ListServices calls ControlServer.ListServices, page by page, and answers all.
func (c *ControlClient) ListServices(ctx context.Context, r *ListServicesRequest) (*ListServicesResponse, error) {
	page, all := *r, &ListServicesResponse{}
	page.Paged = true
	for {
		resp, err := invoke[ListServicesResponse](ctx, c.cc, control+"ListServices", &page)
		if err != nil {
			return nil, err
		}
		all.Services = append(all.Services, resp.Services...)
		if !resp.More || len(resp.Services) == 0 {
			return all, nil
		}
		page.After = resp.Services[len(resp.Services)-1].Service.Spec.Name
	}
}

// GetService calls ControlServer.GetService.
func (c *ControlClient) GetService(ctx context.Context, r *GetServiceRequest) (*GetServiceResponse, error) {
	return invoke[GetServiceResponse](ctx, c.cc, control+"GetService", r)
}

// UpdateService calls ControlServer.UpdateService.
func (c *ControlClient) UpdateService(ctx context.Context, r *UpdateServiceRequest) (*UpdateServiceResponse, error) {
	return invoke[UpdateServiceResponse](ctx, c.cc, control+"UpdateService", r)
}

// RollbackService calls ControlServer.RollbackService.
func (c *ControlClient) RollbackService(ctx context.Context, r *RollbackServiceRequest) (*UpdateServiceResponse, error) {
	return invoke[UpdateServiceResponse](ctx, c.cc, control+"RollbackService", r)
}

// RemoveService calls ControlServer.RemoveService.
func (c *ControlClient) RemoveService(ctx context.Context, r *RemoveServiceRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, control+"RemoveService", r)
}

// ListTasks calls ControlServer.ListTasks, page by page, and answers all, their
// specs in brief. One that changed while it was asked may be of before or after.
func (c *ControlClient) ListTasks(ctx context.Context, r *ListTasksRequest) (*ListTasksResponse, error) {
	page, all := *r, &ListTasksResponse{}
	page.Paged = true
	for {
		resp, err := invoke[ListTasksResponse](ctx, c.cc, control+"ListTasks", &page)
		if err != nil {
			return nil, err
		}
		all.Tasks = append(all.Tasks, resp.Tasks...)
		if !resp.More || len(resp.Tasks) == 0 {
			return all, nil
		}
		last := resp.Tasks[len(resp.Tasks)-1]
		page.After = &Task{ID: last.ID, Meta: last.Meta, ServiceName: last.ServiceName, Slot: last.Slot, NodeID: last.NodeID}
	}
}

// GetTask calls ControlServer.GetTask.
func (c *ControlClient) GetTask(ctx context.Context, r *GetTaskRequest) (*GetTaskResponse, error) {
	return invoke[GetTaskResponse](ctx, c.cc, control+"GetTask", r)
}

// ListImages calls ControlServer.ListImages, page by page, and answers all.
func (c *ControlClient) ListImages(ctx context.Context, _ *ListImagesRequest) (*ListImagesResponse, error) {
	page, all := ListImagesRequest{Paged: true}, &ListImagesResponse{}
	for {
		resp, err := invoke[ListImagesResponse](ctx, c.cc, control+"ListImages", &page)
		if err != nil {
			return nil, err
		}
		all.Images = append(all.Images, resp.Images...)
		if !resp.More || len(resp.Images) == 0 {
			return all, nil
		}
		last := resp.Images[len(resp.Images)-1]
		page.AfterNames, page.AfterID = last.Names, last.ID
	}
}

// RegisterImage calls ControlServer.RegisterImage.
func (c *ControlClient) RegisterImage(ctx context.Context, r *RegisterImageRequest) (*RegisterImageResponse, error) {
	return invoke[RegisterImageResponse](ctx, c.cc, control+"RegisterImage", r)
}

// WatchService calls ControlServer.WatchService. What the stream receives is
// whole, in however many messages it came.
func (c *ControlClient) WatchService(ctx context.Context, r *GetServiceRequest) (grpc.ServerStreamingClient[ServiceProgress], error) {
	inParts := *r
	inParts.Parts = true
	stream, err := openDownload[GetServiceRequest, ServiceProgress](ctx, c.cc, ControlDesc.Streams[0], control+"WatchService", &inParts)
	if err != nil {
		return nil, err
	}
	return wholeProgress{stream}, nil
}
