// Package managertest has what stands around a term of leadership in tests: a
// log that commits at once, raft's membership, and scripted agents. None of it
// is used by a fleet.
package managertest
