// Package dispatch is the leader's side of every node's session: it takes the
// agents' reports, concludes which nodes are up, and tells each node all that
// it needs to live alone. It also makes boards members, renews their
// certificates and lets them go.
//
// What it hears is soft state, kept in memory for the term: last-seen times,
// and each task's latest status, which is laid over what is stored when tasks
// are read. Only what planners must know for good becomes facts (see
// Server.Facts), which the manager's loop commits in batches: an idle fleet
// commits nothing, and whatever a leader's death loses, the agents say again
// when they greet its successor.
//
// It decides nothing about tasks and proposes no status itself.
package dispatch
