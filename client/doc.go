// Package client is what edgectl, the dashboard and tests speak to one node
// with: it finds the node, connects, and repeats calls that a leader's death
// has cut short, under the same request ID, so that a change is made once.
//
// It knows no member certificate and so does not speak QUIC to nodes: it
// reaches the node it runs on by its socket, and every other one through ssh.
// It does not hold state, cache answers, or choose between nodes.
package client
