package rpc

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// idle is how long a connection without calls is kept; the next call makes it anew.
const idle = 30 * time.Second

// Flow control windows of HTTP/2, in bytes. QUIC has its own below. Fixed ones
// keep gRPC from measuring the path with a ping at each message, which would
// double what a heartbeat costs.
const streamWindow, connWindow = 512 << 10, 1 << 20

// redial is gRPC's pause after a failed attempt: a board that comes back is to
// be found within seconds, and a LAN can bear that.
var redial = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// Dial prepares calls to a node, which is connected to at the first call and
// again whenever that breaks. A call while the node can't be reached fails at
// once unless it is made with grpc.WaitForReady. The caller closes the
// connection. Whether a silent node still lives is watched below, by the
// transport.
func Dial(ep transport.Endpoint, node api.NodeID) (*grpc.ClientConn, error) {
	options := append(api.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return ep.Dial(ctx, node, transport.RPC)
		}),
		grpc.WithTransportCredentials(channel{}), grpc.WithAuthority(string(node)), grpc.WithNoProxy(),
		grpc.WithConnectParams(redial), grpc.WithIdleTimeout(idle), grpc.WithSharedWriteBuffer(true),
		grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
	)
	cc, err := grpc.NewClient("passthrough:///"+string(node), options...)
	if err != nil {
		return nil, fmt.Errorf("prepare calls to %s: %w", api.ShortID(node), err)
	}
	return cc, nil
}
