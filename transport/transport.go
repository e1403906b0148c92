// Package transport carries all traffic between nodes: streams to a node,
// named by its ID, over QUIC with mutual TLS 1.3 on one UDP port, multiplexed
// by versioned protocol (ALPN).
//
// It knows who a peer is (its certificate) and how it is reached (an address
// book that others fill). It does not know what a fleet is, what a peer may
// do, or what is said on a stream; admission decides the first two through
// Config.Admit, and each protocol's room the third.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"github.com/edgeswarm/edgeswarm/api"
)

// Protocol is the ALPN token of what is spoken on a stream. The number is the
// protocol's version: two nodes that share none don't connect, and say so.
type Protocol string

// Protocols of the fleet.
const (
	RPC  Protocol = "edge-rpc/1"  // gRPC: control, dispatch, board
	Raft Protocol = "edge-raft/1" // raft's own stream layer
	Blob Protocol = "edge-blob/1" // image blobs by digest
	// Join is the one protocol on which neither side's certificate is
	// verified against the fleet's CA: what is said on it must prove itself,
	// bound to the channel (see Conn.Channel).
	Join Protocol = "edge-join/1"
)

// Errors of an Endpoint, for errors.Is.
var (
	// ErrUnknownNode: no address of the node is known.
	ErrUnknownNode = errors.New("no address known")
	// ErrRefused: the peer answered and does not admit us, or we do not admit it.
	ErrRefused = errors.New("not admitted")
	// ErrClosed: this endpoint was closed.
	ErrClosed = errors.New("endpoint closed")
)

// Endpoint is a node's one port. Its methods may be called from any goroutine.
type Endpoint interface {
	// Dial opens a stream to a node. One connection per node and protocol is
	// kept and shared by its streams; it is made when first needed, at any of
	// the addresses learned, the one that answered last first, and made anew
	// when it breaks. The peer's certificate must be of the fleet and name the
	// node. Errors wrap ErrUnknownNode, ErrRefused, ErrClosed, or say what the
	// network did; ctx bounds the wait.
	Dial(ctx context.Context, node api.NodeID, p Protocol) (Conn, error)
	// DialAddr opens a stream on Join to whoever is at an address. Its
	// connection is not shared: closing the stream closes it.
	DialAddr(ctx context.Context, addr netip.AddrPort) (Conn, error)
	// Listen accepts streams of one protocol from peers that Admit lets in.
	// A second Listen for a protocol is an error while the first is open.
	Listen(p Protocol) (Listener, error)

	// Learn adds to what is known of where a node is reached, newest first; it
	// keeps the last 8 distinct ones. Forget drops a node and its connections.
	Learn(node api.NodeID, addrs ...netip.AddrPort)
	Forget(node api.NodeID)
	// Addrs answers what was learned of a node, best first.
	Addrs(node api.NodeID) []netip.AddrPort

	// Recheck closes every connection whose peer Admit no longer lets in, or
	// that was made with credentials since replaced by those of another fleet.
	Recheck()
	// Port is the UDP port listened on.
	Port() uint16
	// Close ends all streams and connections at once and waits for them.
	Close() error
}

// Listener accepts a protocol's streams.
type Listener interface {
	// Accept waits for the next stream. After Close it returns an error that
	// wraps net.ErrClosed.
	Accept() (Conn, error)
	Close() error
}

// Conn is one stream between two nodes. Close ends both directions and
// releases the stream's flow-control credit, whatever was left unread;
// CloseWrite ends only what this side sends.
type Conn interface {
	net.Conn
	CloseWrite() error
	Peer() Peer
	// Channel returns 32 bytes of keying material bound to this TLS channel
	// and label (RFC 8446, 7.5): equal at both ends, and at nobody else's.
	Channel(label string) ([]byte, error)
}

// Peer is who is at the other end.
type Peer struct {
	// ID is the certificate's subject (common name). On Join it is only claimed.
	ID api.NodeID
	// Fleet is the fleet that certified it (organization); "" for a self-made
	// certificate. On Join it is only claimed.
	Fleet api.FleetID
	Addr  netip.AddrPort
	// Key is the certificate's public key in PKIX, DER: proven to be held by
	// the peer on every protocol, Join included.
	Key []byte
	// Chain is what the peer showed, leaf first, DER: on Join, for whoever has
	// another CA or another rule to check it by.
	Chain [][]byte
}

// Identity is the node's present credentials; they change while it runs.
type Identity interface {
	// Certificate is presented to peers: the fleet's, or before membership a
	// self-made one for the same key.
	Certificate() *tls.Certificate
	// Verify checks a peer's chain (leaf first, DER) against the fleet's CA at
	// the fleet's time, and answers who it is. It errs before membership.
	Verify(chain [][]byte) (api.NodeID, api.FleetID, error)
}
