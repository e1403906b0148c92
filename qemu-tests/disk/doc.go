// Package disk is the card of an emulated board: a block device that a Network
// Block Device server of our own hands to QEMU over a Unix socket.
//
// A Card is a layer of changes over an image that is only read, so that any
// number of identical cards cost one image. It has what a card has and a file
// has not: a write cache that is lost with the power. What the board did not
// flush is gone after PowerCut, or some of it, or half of a write. A Recording
// keeps all writes and flushes in order, and makes the card as it was at any of
// them. A card can fail to read or write, or be smaller than it says.
//
// Faults are the server's and not those of QEMU's blkdebug: that one is set up
// before QEMU starts and is named by events of QEMU's own formats, while a test
// breaks a card while its board runs, and mends it again.
package disk
