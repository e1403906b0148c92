package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// handshake is how long a caller may take to begin speaking HTTP/2.
const handshake = 10 * time.Second

// NewServer makes the server of a node; the caller registers services and
// hands it to Serve.
func NewServer(extra ...grpc.ServerOption) *grpc.Server {
	options := append(api.ServerOptions(), grpc.Creds(channel{}), grpc.SharedWriteBuffer(true), grpc.ConnectionTimeout(handshake),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow))
	return grpc.NewServer(append(options, extra...)...)
}

// Serve answers calls from all the listeners until ctx ends or one of them
// fails, and then closes them and ends all calls. The end of ctx is no error.
func Serve(ctx context.Context, server *grpc.Server, listeners ...net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			err := server.Serve(l)
			if ctx.Err() != nil || err == nil || errors.Is(err, grpc.ErrServerStopped) {
				return nil
			}
			return fmt.Errorf("serve on %s: %w", l.Addr(), err)
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		server.Stop()
		return nil
	})
	return group.Wait()
}

// Streams gives gRPC a transport's listener.
func Streams(l transport.Listener) net.Listener { return streams{l} }

type streams struct{ transport.Listener }

func (s streams) Accept() (net.Conn, error) { return s.Listener.Accept() }
func (s streams) Addr() net.Addr            { return name(transport.RPC) }

// Local marks a listener's connections as those of a local socket: whoever can
// open it may call, and is no node. It must not be reachable from the network.
func Local(l net.Listener) net.Listener { return local{l} }

type local struct{ net.Listener }

func (l local) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return localConn{c}, nil
}

type localConn struct{ net.Conn }

// name is an address for messages.
type name string

func (n name) Network() string { return "quic" }
func (n name) String() string  { return string(n) }
