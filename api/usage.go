package api

import "time"

// Usage is what a container has taken of its board up to a moment. Sums begin
// with the container, so a rate is the difference of two of one container.
type Usage struct {
	// Up is the moment: the board's time since its start, by a clock that
	// nobody sets.
	Up time.Duration
	// CPU is the time of all cores together.
	CPU time.Duration
	// Memory in bytes, less what the kernel would give up at once; -1 where the
	// kernel does not count it. MemoryLimit is the container's, or of one
	// without, the board's; 0 if that is not known.
	Memory, MemoryLimit int64
	// Pids counts processes and threads, -1 where the kernel does not;
	// PidsLimit is 0 without one.
	Pids, PidsLimit int64
	// NetReceived and NetSent in bytes, over the container's own links: nothing
	// in the board's own network.
	NetReceived, NetSent int64
	// BlockRead and BlockWritten in bytes, on disks and cards.
	BlockRead, BlockWritten int64
}

// CPUPercent is how much of one core a container used between two moments, in
// hundredths; false if that can't be told of these two.
func CPUPercent(before, after Usage) (percent float64, known bool) {
	passed, used := after.Up-before.Up, after.CPU-before.CPU
	if passed <= 0 || used < 0 {
		return 0, false
	}
	return 100 * float64(used) / float64(passed), true
}

type (
	// UsageRequest asks what tasks take of their boards.
	UsageRequest struct {
		// Of are services and tasks, by whatever a lookup takes: those of a
		// service that are wanted, and the named tasks, whatever has become of
		// them. With none, what runs on all boards.
		Of []string `json:",omitempty"`
		// All asks of all boards also for tasks of which nothing runs.
		All bool `json:",omitempty"`
		// Local asks only for what is on this board; Of then are tasks' IDs.
		Local bool `json:",omitempty"`
	}
	// UsageResponse has them by service, slot and ID.
	UsageResponse struct {
		Tasks []TaskUsage
		// Silent boards did not tell: which, and why.
		Silent []SilentBoard `json:",omitempty"`
	}
	// TaskUsage is a task of a board.
	TaskUsage struct {
		TaskBrief
		NodeID   NodeID // "" if it is not placed
		NodeName string
		// Usage of its present attempt; nil if nothing of it runs, or its board
		// is silent.
		Usage *Usage `json:",omitempty"`
	}
	// SilentBoard is a board that did not tell.
	SilentBoard struct {
		NodeID   NodeID
		NodeName string
		Err      string
	}
)
