package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/edgeswarm/edgeswarm/api"
)

// Pauses between repeated calls grow from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// retrier repeats unary calls that failed for a reason that passes: no leader,
// a leader that just died, a node that restarts. What is repeated is the very
// same request, so a write is recognized by its RequestID and made once.
type retrier struct {
	next     grpc.ClientConnInterface
	patience time.Duration
	// hopeless answers why waiting won't help, nil if it may. It is asked once
	// per call.
	hopeless func(context.Context) error
}

// NewStream opens a stream; streams are not repeated here, see Client.Watch.
func (r *retrier) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return r.next.NewStream(ctx, desc, method, opts...)
}

// Invoke calls, and calls again while that may help and patience lasts.
func (r *retrier) Invoke(ctx context.Context, method string, req, resp any, opts ...grpc.CallOption) error {
	if id := requestID(req); id != nil && *id == "" {
		*id = api.NewID[api.RequestID]()
	}
	begun, pause, asked := time.Now(), firstPause, false
	for {
		resetTrailers(opts)
		err := r.next.Invoke(ctx, method, req, resp, opts...)
		if err == nil || !repeatable(req) || !passing(err) || ctx.Err() != nil {
			return err
		}
		if !asked && r.hopeless != nil {
			asked = true
			if why := r.hopeless(ctx); why != nil {
				resetTrailers(opts)
				return status.Error(codes.Aborted, why.Error())
			}
		}
		if time.Since(begun)+pause > r.patience {
			if r.patience <= 0 {
				return err
			}
			st := status.Convert(err)
			return status.Error(st.Code(), fmt.Sprintf("%s (tried for %v)", st.Message(), r.patience))
		}
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return err
		}
		pause = min(2*pause, lastPause)
	}
}

// sleep waits and reports whether ctx outlived the wait.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// passing reports whether an error is of the kinds that a later call may not
// meet. The codes are what api gives Unavailable and NotLeader on the wire.
func passing(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.FailedPrecondition
}

// resetTrailers forgets the trailer of an earlier attempt: one that got no
// answer at all would otherwise be read as the one before it.
func resetTrailers(opts []grpc.CallOption) {
	for _, o := range opts {
		if t, ok := o.(grpc.TrailerCallOption); ok {
			*t.TrailerAddr = nil
		}
	}
}

// repeatable reports whether a request may be sent again: reads, and writes
// that carry a RequestID. What is not listed is not repeated.
func repeatable(req any) bool {
	switch req.(type) {
	case *api.GetClusterRequest, *api.ListNodesRequest, *api.GetNodeRequest, *api.ListServicesRequest,
		*api.GetServiceRequest, *api.ListTasksRequest, *api.GetTaskRequest, *api.ListImagesRequest,
		*api.ListSecretsRequest, *api.GetSecretRequest, *api.ListConfigsRequest, *api.GetConfigRequest, *api.ForecastServiceRequest, *api.UsageRequest, *api.VolumesRequest,
		*api.ListNetworksRequest, *api.GetNetworkRequest:
		return true
	case *api.Empty: // GetBoard: the only call of this kind
		return true
	}
	return requestID(req) != nil
}

// requestID points at the request's ID, nil for a request without one.
func requestID(req any) *api.RequestID {
	switch r := req.(type) {
	case *api.UpdateClusterRequest:
		return &r.RequestID
	case *api.GetJoinTokenRequest:
		return &r.RequestID
	case *api.UpdateNodeRequest:
		return &r.RequestID
	case *api.RemoveNodeRequest:
		return &r.RequestID
	case *api.CreateServiceRequest:
		return &r.RequestID
	case *api.UpdateServiceRequest:
		return &r.RequestID
	case *api.RollbackServiceRequest:
		return &r.RequestID
	case *api.RebalanceServicesRequest:
		return &r.RequestID
	case *api.RemoveServiceRequest:
		return &r.RequestID
	case *api.RegisterImageRequest:
		return &r.RequestID
	case *api.CreateSecretRequest:
		return &r.RequestID
	case *api.RemoveSecretRequest:
		return &r.RequestID
	case *api.CreateConfigRequest:
		return &r.RequestID
	case *api.RemoveConfigRequest:
		return &r.RequestID
	case *api.CreateNetworkRequest:
		return &r.RequestID
	case *api.RemoveNetworkRequest:
		return &r.RequestID
	case *api.RotateKeysRequest:
		return &r.RequestID
	default:
		return nil
	}
}
