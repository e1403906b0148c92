// Package orchestrator decides which tasks a service should have: it looks at
// one snapshot and says what must change so that services come closer to their
// specs. Scaling, moving tasks off nodes that can't keep them, replacing those
// that ended, walking an update or a rebalance through the slots, and cleaning
// up are here.
//
// It is pure: no goroutine, clock, randomness or I/O. Equal input gives equal
// output, and a fleet that is as it should be gives none. It does not choose
// nodes (that is the scheduler's), and it restarts nothing in place (that is
// the agent's).
package orchestrator
