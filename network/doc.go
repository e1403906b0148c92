// Package network gives tasks their place in the network of their board: a
// namespace with an address on the board's bridge, outgoing NAT, names, and
// published ports in host mode.
//
// Everything is made through netlink; no external program runs. What it makes
// lives in the kernel and in a folder that a reboot empties, so that a restart
// of edged changes nothing and a reboot leaves nothing. Networks that span
// boards are not here yet.
package network
