// Package quic implements transport.Endpoint with quic-go: one UDP socket, TLS
// 1.3 with certificates on both sides, one connection for each peer and
// protocol.
//
// What goes over a connection beside the streams' own bytes:
//
//   - The dialer's ClientHello names, as server name, a random label of its
//     process. The acceptor's welcome, a unidirectional stream that it opens once
//     it has checked and admitted the dialer, carries the same of its own. So
//     Dial knows that it was let in, a refusal has a reason, and a peer that
//     started anew is told from the one it was: what is left of its earlier
//     life is closed at once.
//   - The first byte of each stream, sent by the dialer, is the stream's version
//     (1). QUIC shows a stream to its acceptor only when something was sent on
//     it, and a dialer may want to listen first.
//   - When a new address of a node is learned, a dialler asks over each of its
//     connections whether the node still hears it, by a unidirectional stream
//     that the acceptor refuses. One without an answer is closed.
//
// A connection is watched by QUIC itself: the dialer pings a silent one, both
// ends give up after Config.IdleTimeout. A dialled connection without streams is
// closed after a while, so an idle fleet keeps no pings going that nobody
// needs. After a kill -9 the next packet to the successor is answered by a
// stateless reset, whose key is derived from the node's.
//
// The package trusts no certificate by itself: Identity says whose it is and
// Admit whether it may come in.
package quic
