// Package manager is all that runs on a node only while it leads the fleet: one
// Term at a time, which watches the state, has the planners decide, commits
// what they decided together with what the agents reported, keeps the number
// of voters right, and answers the Control and Dispatch services.
//
// Nothing of a term outlives it: Term.Run returns after all its parts have. A
// term decides nothing by itself, and keeps nothing that its successor would
// miss: the planners are pure, and all they need is stored.
package manager
