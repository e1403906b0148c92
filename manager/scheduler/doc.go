// Package scheduler gives tasks their nodes: those that fit by constraints,
// platform, reservations and host ports, spread by preference, then by service,
// then by load. A task that fits nowhere waits, and says why in words with
// counts. Where placed tasks would lie more evenly is said here too.
//
// It is pure: no goroutine, clock, randomness or I/O. It decides neither which
// tasks there are nor when one is to move (that is the orchestrator's), and it
// never takes a placed task from its node.
package scheduler
