// Package wireguard configures a WireGuard link, which is the kernel's or that of
// a process outside of it; the process it starts, finds again and ends. Both take
// the same changes and answer the same state.
//
// It decides neither which link there is to be, nor who speaks over it: keys,
// endpoints and whose addresses are whose are its caller's.
package wireguard
