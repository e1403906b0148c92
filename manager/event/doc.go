// Package event says what a log entry's changes mean to people: a service was
// updated, a node went down, a task failed. It speaks Docker's vocabulary of
// events, with the same attributes, where Docker has them.
//
// It is pure, so that every leader tells the same. What is committed only for
// the fleet's own sake (a service's rollout record, a node's addresses, a new
// version of an object that is otherwise equal) is no event; and what is never
// committed can't be one: the steps of a task on its way to running, a restart
// in place, and a state that was left before it was committed.
package event
