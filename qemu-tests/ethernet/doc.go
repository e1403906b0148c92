// Package ethernet is the LAN of emulated boards: a switch in user space that
// QEMU's `-netdev stream` sockets plug into. It needs no root, no bridge and
// no TAP device.
//
// It does what a cheap switch does: it learns addresses, floods what it has not
// learned and what is for many, and drops what a slow receiver has no room for.
// Beyond that it can be told to lose, delay and double frames on a link, to
// fall apart into islands, and to keep a capture of every plug. Chance is
// seeded: link by link and direction by direction, the same frames meet the same fate.
//
// It knows nothing of IP but one thing: which address a board speaks from
// (Port.Address), so that a test finds the board. It is no router and no DHCP
// server: package router is.
package ethernet
