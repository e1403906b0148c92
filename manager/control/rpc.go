package control

import (
	"context"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/term"
)

// call lets a request in for as long as the term lasts.
func call[Req, Resp any](s *Server, ctx context.Context, r *Req, do func(context.Context, *Req) (*Resp, error)) (*Resp, error) {
	ctx, leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	resp, err := do(ctx, r)
	return resp, term.Over(ctx, err)
}

// GetCluster implements api.ControlServer.
func (s *Server) GetCluster(ctx context.Context, r *api.GetClusterRequest) (*api.GetClusterResponse, error) {
	return call(s, ctx, r, s.getCluster)
}

// UpdateCluster implements api.ControlServer.
func (s *Server) UpdateCluster(ctx context.Context, r *api.UpdateClusterRequest) (*api.UpdateClusterResponse, error) {
	return call(s, ctx, r, s.updateCluster)
}

// GetJoinToken implements api.ControlServer.
func (s *Server) GetJoinToken(ctx context.Context, r *api.GetJoinTokenRequest) (*api.GetJoinTokenResponse, error) {
	return call(s, ctx, r, s.getJoinToken)
}

// ListNodes implements api.ControlServer.
func (s *Server) ListNodes(ctx context.Context, r *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	return call(s, ctx, r, s.listNodes)
}

// GetNode implements api.ControlServer.
func (s *Server) GetNode(ctx context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	return call(s, ctx, r, s.getNode)
}

// UpdateNode implements api.ControlServer.
func (s *Server) UpdateNode(ctx context.Context, r *api.UpdateNodeRequest) (*api.UpdateNodeResponse, error) {
	return call(s, ctx, r, s.updateNode)
}

// RemoveNode implements api.ControlServer.
func (s *Server) RemoveNode(ctx context.Context, r *api.RemoveNodeRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.removeNode)
}

// CreateService implements api.ControlServer.
func (s *Server) CreateService(ctx context.Context, r *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	return call(s, ctx, r, s.createService)
}

// ListServices implements api.ControlServer.
func (s *Server) ListServices(ctx context.Context, r *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	return call(s, ctx, r, s.listServices)
}

// GetService implements api.ControlServer.
func (s *Server) GetService(ctx context.Context, r *api.GetServiceRequest) (*api.GetServiceResponse, error) {
	return call(s, ctx, r, s.getService)
}

// UpdateService implements api.ControlServer.
func (s *Server) UpdateService(ctx context.Context, r *api.UpdateServiceRequest) (*api.UpdateServiceResponse, error) {
	return call(s, ctx, r, s.updateService)
}

// RollbackService implements api.ControlServer.
func (s *Server) RollbackService(ctx context.Context, r *api.RollbackServiceRequest) (*api.UpdateServiceResponse, error) {
	return call(s, ctx, r, s.rollbackService)
}

// RemoveService implements api.ControlServer.
func (s *Server) RemoveService(ctx context.Context, r *api.RemoveServiceRequest) (*api.Empty, error) {
	return call(s, ctx, r, s.removeService)
}

// RebalanceServices implements api.ControlServer.
func (s *Server) RebalanceServices(ctx context.Context, r *api.RebalanceServicesRequest) (*api.RebalanceServicesResponse, error) {
	return call(s, ctx, r, s.rebalanceServices)
}

// ListTasks implements api.ControlServer.
func (s *Server) ListTasks(ctx context.Context, r *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	return call(s, ctx, r, s.listTasks)
}

// GetTask implements api.ControlServer.
func (s *Server) GetTask(ctx context.Context, r *api.GetTaskRequest) (*api.GetTaskResponse, error) {
	return call(s, ctx, r, s.getTask)
}

// ListImages implements api.ControlServer.
func (s *Server) ListImages(ctx context.Context, r *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	return call(s, ctx, r, s.listImages)
}

// RegisterImage implements api.ControlServer.
func (s *Server) RegisterImage(ctx context.Context, r *api.RegisterImageRequest) (*api.RegisterImageResponse, error) {
	return call(s, ctx, r, s.registerImage)
}

// WatchService implements api.ControlServer.
func (s *Server) WatchService(r *api.GetServiceRequest, stream grpc.ServerStreamingServer[api.ServiceProgress]) error {
	ctx, leave, err := s.gate.Enter(stream.Context())
	if err != nil {
		return err
	}
	defer leave()
	// A reader that does not read must not hold the term up: see dispatch.Session.
	done := make(chan error, 1)
	go func() { done <- s.watchService(ctx, r, stream) }()
	select {
	case err := <-done:
		return term.Over(ctx, err)
	case <-ctx.Done():
		return term.Over(ctx, ctx.Err())
	}
}
