// Package store is the fleet's replicated state: tables of nouns, changed only
// by applying log entries, read as immutable views.
//
// A writer decides on a View, collects puts and deletes in a Tx, and Update
// proposes them as one entry. Apply, the same on every manager, checks that
// nothing decided upon has changed meanwhile, and that no name is taken, and
// takes all or nothing. The store holds no lock while a proposal is under way,
// has no clock of its own, and knows of what the nouns mean only this: a fleet
// that a user has written to does not fold into another, nor does one that has
// folded take a user's writes.
//
// It does not order entries, persist anything, or know who leads.
package store
