// Package control answers, on the leader, what the fleet as a whole is asked:
// it checks what users want, finds what they name, merges their changes into
// the specs of the moment, pins images, and writes specs down. Reads lay the
// leader's live knowledge of tasks and nodes over the committed state.
//
// It makes no tasks and changes none: the manager's loop does, from the specs.
// It does not forward: the node does that before a call comes here.
package control
