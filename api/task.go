package api

import "time"

// TaskState is how far a task has come. States only move forward.
type TaskState string

// Task states, in order. From Draining on, a task takes no new work; from
// Complete on, it has ended.
const (
	TaskNew       TaskState = "new"       // decided on
	TaskPending   TaskState = "pending"   // waits for a node that fits
	TaskAssigned  TaskState = "assigned"  // placed
	TaskPreparing TaskState = "preparing" // the node fetches and unpacks
	TaskReady     TaskState = "ready"     // may start at once
	TaskStarting  TaskState = "starting"
	TaskRunning   TaskState = "running"
	TaskDraining  TaskState = "draining" // out of balancing, ending its work
	TaskComplete  TaskState = "complete" // ended with 0
	TaskShutdown  TaskState = "shutdown" // ended because told to
	TaskFailed    TaskState = "failed"   // ended otherwise
	TaskRejected  TaskState = "rejected" // could not be begun
	TaskRemoved   TaskState = "removed"  // nothing of it is left; also a desired state
)

// rank is the state's place in the order, the first for none of them. Planners compare
// states more than anything else.
func (s TaskState) rank() int {
	switch s {
	case TaskNew:
		return 0
	case TaskPending:
		return 1
	case TaskAssigned:
		return 2
	case TaskPreparing:
		return 3
	case TaskReady:
		return 4
	case TaskStarting:
		return 5
	case TaskRunning:
		return 6
	case TaskDraining:
		return 7
	case TaskComplete:
		return 8
	case TaskShutdown:
		return 9
	case TaskFailed:
		return 10
	case TaskRejected:
		return 11
	case TaskRemoved:
		return 12
	default:
		return 0
	}
}

// Valid reports whether the state is one of the known ones.
func (s TaskState) Valid() bool { return s.rank() > 0 || s == TaskNew }

// Before reports whether s comes before t in a task's life.
func (s TaskState) Before(t TaskState) bool { return s.rank() < t.rank() }

// Ended reports whether a task in this state runs no more and never will in
// this attempt.
func (s TaskState) Ended() bool { return !s.Before(TaskComplete) }

// Task is one slot's incarnation on one node. A restart in place is a new
// attempt of the same task, with a container of its own.
type Task struct {
	ID TaskID
	Meta
	ServiceID   ServiceID
	ServiceName string
	// ServiceLabels are those labels of the service, as they were when the task
	// was made, that templates of its spec ask for.
	ServiceLabels map[string]string `json:",omitempty"`
	// Slot is 1..replicas of a replicated service; 0 of a global one.
	Slot int
	// NodeID is "" until the task is placed, and set at birth for a global one.
	// Its node is told of it only once its state is TaskAssigned.
	NodeID NodeID
	// Spec is copied from the service when the task is made; SpecVersion says which.
	Spec        TaskSpec
	SpecVersion uint64
	// DesiredState is what the manager wants: ready (prepare, but wait),
	// running, shutdown, or removed (and forget); of a job's task that has
	// completed, complete.
	DesiredState TaskState
	Status       TaskStatus
	// Ports are the published ports with the board's port filled in.
	Ports []PortConfig `json:",omitempty"`
	// GenericResources are those of its node that are the task's alone, chosen when
	// it is placed and its own as long as it lasts.
	GenericResources []GenericResource `json:",omitempty"`
	// Addresses of the task, one in each network of its spec and in that order;
	// given with its node.
	Addresses []NetworkAddr `json:",omitempty"`
	// Replaces names the task whose slot this one takes over. With stop-first
	// on the same node the agent swaps them: it prepares this one, stops the
	// other, and starts this one.
	Replaces TaskID `json:",omitempty"`
	// Preferred is the node that a task was made to be moved to; "" for others. If
	// that can't take it, it stays where the one before it was.
	Preferred NodeID `json:",omitempty"`
	// Monitor is how long after the task's start its end counts against the
	// update that made it, copied from the service's UpdateConfig; 0 is 5 s.
	Monitor time.Duration `json:",omitempty"`
	// JobIteration is the run of its job that the task belongs to; nil for
	// other modes. One that completed is kept, with the desired state complete,
	// as long as its job and its run last.
	JobIteration *Version `json:",omitempty"`
	// Failures counts the tasks of this slot before this one that were rejected,
	// ended soon after their start, or failed over and over, one after the other;
	// the wait before each grows with it, and so do those between its attempts.
	Failures int `json:",omitempty"`
}

// TaskStatus is what the agent last reported, or for an unplaced task, why.
type TaskStatus struct {
	State TaskState
	// Attempt counts starts in place from 1; 0 before the first. A status is
	// newer than another if its (Attempt, State) is greater.
	Attempt   int
	Timestamp time.Time // the node's fleet time
	Message   string    `json:",omitempty"`
	Err       string    `json:",omitempty"`
	// ContainerID, PID and ExitCode are of the last attempt.
	ContainerID string `json:",omitempty"`
	PID         int    `json:",omitempty"`
	ExitCode    *int   `json:",omitempty"`
	// InMonitor marks an end that came within the update's monitor period of
	// the task's start, by the node's own stopwatch.
	InMonitor bool `json:",omitempty"`
	// Exhausted marks an end that the agent will not follow with another
	// attempt: the policy forbids it. The manager decides what comes next.
	Exhausted bool `json:",omitempty"`
	// NextTry is how long after Timestamp the next attempt begins, or if Exhausted
	// the task that takes over, when one does.
	NextTry time.Duration `json:",omitempty"`
	// RecentFailures counts the attempts of this task on its node that failed
	// within RecentFailurePeriod before Timestamp, this one among them.
	RecentFailures int `json:",omitempty"`
}

// A node is faulty for a version of a service on which so many of its attempts
// failed within that time, as in Swarm.
const (
	FaultyAfter         = 5
	RecentFailurePeriod = 5 * time.Minute
)

// Faulty reports whether, at that time, the task had failed so often lately that
// its node is faulty for its version of the service.
func (s TaskStatus) Faulty(at time.Time) bool {
	return s.RecentFailures >= FaultyAfter && at.Sub(s.Timestamp) < RecentFailurePeriod
}

// Newer reports whether s supersedes old: a later attempt, or a later state of
// the same one.
func (s TaskStatus) Newer(old TaskStatus) bool {
	if s.Attempt != old.Attempt {
		return s.Attempt > old.Attempt
	}
	return old.State.Before(s.State)
}

// Key returns the task's ID.
func (t *Task) Key() string { return string(t.ID) }

// Head returns the object's metadata.
func (t *Task) Head() *Meta { return &t.Meta }

// Live reports whether the task is wanted and has not ended for good: it holds
// its slot and its node's resources.
func (t *Task) Live() bool {
	return t.DesiredState.Before(TaskDraining) && !t.Over()
}

// Over reports whether nothing of the task runs or will run again: it ended
// and no attempt in place follows.
func (t *Task) Over() bool {
	switch t.Status.State {
	case TaskRejected, TaskRemoved, TaskShutdown:
		return true
	case TaskComplete, TaskFailed:
		return t.Status.Exhausted || !t.DesiredState.Before(TaskDraining)
	default:
		return false
	}
}
