// Package board is an emulated board: a QEMU that boots a card as a board from
// its socket, on a cable of the emulated LAN, with a serial console that is
// kept. It can lose its power, its cable, its clock and most of its CPU.
//
// A test speaks with a board as its owner would: over SSH with a key that its
// card holds (Exec), through edgectl at the socket of its edged (Socket), and by
// reading its console. There is nothing on the card that users' cards have not.
//
// It knows what machines there are and how each is asked of QEMU; what is on a
// card, and what a fleet should do, it does not know.
package board
