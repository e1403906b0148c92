package rpc

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/edgeswarm/edgeswarm/transport"
)

// AuthInfo is gRPC's view of a verified peer.
type AuthInfo struct {
	credentials.CommonAuthInfo
	// Peer is who is at the other end; meaningless if Local.
	Peer transport.Peer
	// Local is set on a connection of a local socket, where the file's
	// permissions decide who may call.
	Local bool
}

// AuthType implements credentials.AuthInfo.
func (a AuthInfo) AuthType() string {
	if a.Local {
		return "local"
	}
	return "edge-quic"
}

// channel implements credentials.TransportCredentials. The handshake was
// QUIC's; here is only passed on who it was with.
type channel struct{}

func (channel) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return raw, info(raw), nil
}

// ServerHandshake refuses a connection of unknown kind: were it taken for a
// local one, whoever can reach a forgotten TCP port could do everything.
func (channel) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	auth := info(raw)
	if auth == nil {
		return nil, nil, errors.New("serve: neither a transport's stream nor from a listener marked Local")
	}
	return raw, auth, nil
}

func info(raw net.Conn) credentials.AuthInfo {
	secure := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	switch c := raw.(type) {
	case transport.Conn:
		return AuthInfo{CommonAuthInfo: secure, Peer: c.Peer()}
	case localConn:
		return AuthInfo{CommonAuthInfo: secure, Local: true}
	default:
		return nil
	}
}

func (channel) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "edge-quic"}
}
func (c channel) Clone() credentials.TransportCredentials { return c }
func (channel) OverrideServerName(string) error           { return nil }

// PeerOf answers which node calls. It is false for a call over a local socket,
// and for a context that is not a handler's.
func PeerOf(ctx context.Context) (transport.Peer, bool) {
	auth, ok := authOf(ctx)
	if !ok || auth.Local {
		return transport.Peer{}, false
	}
	return auth.Peer, true
}

// IsLocal reports whether a handler was called over a local socket. It is
// false for a context that is not a handler's, so that nothing is permitted by
// mistake.
func IsLocal(ctx context.Context) bool {
	auth, ok := authOf(ctx)
	return ok && auth.Local
}

func authOf(ctx context.Context) (AuthInfo, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return AuthInfo{}, false
	}
	auth, ok := p.AuthInfo.(AuthInfo)
	return auth, ok
}
