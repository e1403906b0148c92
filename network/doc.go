// Package network gives tasks their place in the network: a namespace with an
// address on the board's bridge, outgoing NAT, names, and published ports; and in
// networks that span boards an address of each, the ways to other
// boards' tasks, and the balancing of services, all of which it mends when another
// tool takes something away.
//
// It decides neither who has which address nor who serves: that it is told (see
// agent.Fabric, and ipam, which the leader asks).
//
// Everything is made through netlink; no external program runs. What it makes
// lives in the kernel and in a folder that a reboot empties, so that a restart
// of edged changes nothing and a reboot leaves nothing.
package network
