// Package identity is who a board is and how it proves that: its key (ECDSA
// P-256, made on the board and never moved), its certificate, the fleet's CA,
// and the two credentials that let a fresh board in: the fleet key and the
// join token.
//
// A node's certificate has the node's ID as its common name and the fleet's ID
// as its organization. The certificate says who a node is; what it may do is
// decided elsewhere, from the replicated state.
//
// All of it is pure but for Keeper, which keeps one board's credentials in a
// directory. The package opens no connection and reads no clock of its own.
package identity
