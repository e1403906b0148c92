// Package rpc carries gRPC over transport's streams. A ClientConn is one
// stream to one node; a Server takes the streams of an endpoint, and the
// connections of a local socket beside them. A handler learns who calls with
// PeerOf: the transport has verified it.
//
// It adds nothing to authentication and decides nothing: what a peer may call
// is the handlers' affair.
package rpc
