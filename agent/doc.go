// Package agent keeps a node's assigned tasks in the state they should be in.
// It holds a session with the leader, stores the assignment set on disk, steps
// each task through runtime.Driver, restarts in place by policy, and reports
// latest statuses. With no manager reachable, and after a reboot, it goes on
// with the set it has.
//
// It does not decide what runs where, and knows neither raft nor the
// replicated state.
package agent
