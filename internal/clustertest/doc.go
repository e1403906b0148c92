// Package clustertest runs whole fleets in memory: real boards of room node,
// with real QUIC, raft and bbolt, on a LAN, a container runtime and clocks that
// a test can break. A fleet lives in a testing/synctest bubble, so that minutes
// of its life take moments, and waits are exact.
//
// It holds no part of the product, and what real containers, kernels and
// multicast do is not its affair: the lab is for that.
package clustertest
