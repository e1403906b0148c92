package api

import (
	"context"

	"google.golang.org/grpc"
)

type (
	// CreateNetworkRequest makes a network.
	CreateNetworkRequest struct {
		RequestID RequestID
		Spec      NetworkSpec
	}
	// NetworkResponse is a network.
	NetworkResponse struct{ Network *Network }
	// ListNetworksRequest asks for all networks.
	ListNetworksRequest struct{}
	// ListNetworksResponse has them in order of name.
	ListNetworksResponse struct{ Networks []*Network }
	// GetNetworkRequest names a network.
	GetNetworkRequest struct{ Network string }
	// RemoveNetworkRequest names a network that no service uses.
	RemoveNetworkRequest struct {
		RequestID RequestID
		Network   string
	}
	// RotateKeysRequest asks for new keys.
	RotateKeysRequest struct{ RequestID RequestID }
)

// NetworkServer keeps the fleet's networks. The leader answers, as for
// ControlServer, whose rules hold.
type NetworkServer interface {
	// CreateNetwork is Conflict if the subnet overlaps another network's, or a
	// route of a board: it names which.
	CreateNetwork(context.Context, *CreateNetworkRequest) (*NetworkResponse, error)
	ListNetworks(context.Context, *ListNetworksRequest) (*ListNetworksResponse, error)
	GetNetwork(context.Context, *GetNetworkRequest) (*NetworkResponse, error)
	// RemoveNetwork is Conflict, naming the services, while any uses it.
	RemoveNetwork(context.Context, *RemoveNetworkRequest) (*Empty, error)
	// RotateKeys has every board take a new key for encrypted networks. It returns
	// once that is wanted; the boards do it in the seconds after, or when they are
	// back.
	RotateKeys(context.Context, *RotateKeysRequest) (*Empty, error)
}

const networkService = "edge.v1.Network"

// NetworkDesc is the service's wire definition.
var NetworkDesc = grpc.ServiceDesc{
	ServiceName: networkService, HandlerType: (*NetworkServer)(nil),
	Methods: []grpc.MethodDesc{
		unary("CreateNetwork", NetworkServer.CreateNetwork),
		unary("ListNetworks", NetworkServer.ListNetworks),
		unary("GetNetwork", NetworkServer.GetNetwork),
		unary("RemoveNetwork", NetworkServer.RemoveNetwork),
		unary("RotateKeys", NetworkServer.RotateKeys),
	},
}

// NetworkClient speaks Network over a connection made with DialOptions.
type NetworkClient struct{ cc grpc.ClientConnInterface }

// NewNetworkClient wraps a connection; the caller keeps it and closes it.
func NewNetworkClient(cc grpc.ClientConnInterface) *NetworkClient { return &NetworkClient{cc} }

const networkMethods = "/" + networkService + "/"

// CreateNetwork calls NetworkServer.CreateNetwork.
func (c *NetworkClient) CreateNetwork(ctx context.Context, r *CreateNetworkRequest) (*NetworkResponse, error) {
	return invoke[NetworkResponse](ctx, c.cc, networkMethods+"CreateNetwork", r)
}

// ListNetworks calls NetworkServer.ListNetworks.
func (c *NetworkClient) ListNetworks(ctx context.Context, r *ListNetworksRequest) (*ListNetworksResponse, error) {
	return invoke[ListNetworksResponse](ctx, c.cc, networkMethods+"ListNetworks", r)
}

// GetNetwork calls NetworkServer.GetNetwork.
func (c *NetworkClient) GetNetwork(ctx context.Context, r *GetNetworkRequest) (*NetworkResponse, error) {
	return invoke[NetworkResponse](ctx, c.cc, networkMethods+"GetNetwork", r)
}

// RemoveNetwork calls NetworkServer.RemoveNetwork.
func (c *NetworkClient) RemoveNetwork(ctx context.Context, r *RemoveNetworkRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, networkMethods+"RemoveNetwork", r)
}

// RotateKeys calls NetworkServer.RotateKeys.
func (c *NetworkClient) RotateKeys(ctx context.Context, r *RotateKeysRequest) (*Empty, error) {
	return invoke[Empty](ctx, c.cc, networkMethods+"RotateKeys", r)
}
