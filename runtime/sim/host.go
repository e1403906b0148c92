// Package sim is a runtime.Driver without containers: processes are short
// scripts, and time is whatever the testing/synctest bubble says. It is for
// tests of the rooms above; it holds itself to what runtimetest checks of the
// real driver.
//
// It starts no goroutine that outlives a call, so a bubble can end while its
// containers run.
package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Host is a board's containers. They outlive the Drivers opened on it, as real
// ones outlive edged.
type Host struct {
	config Config

	mu         sync.Mutex
	containers map[string]*container
	journal    []Event
	pids       int
	born       time.Time
	// outage is closed when the runtime goes away, and nil while it is away.
	outage chan struct{}
}

// Config of a Host. The zero value runs everything as it is asked to.
type Config struct {
	// Image that is complete on this board; "" has them all.
	Image api.ImageID
	// Script decides what a container does, where its command doesn't; see
	// Program. Nil runs the command.
	Script func(runtime.Container) Script
}

// Script is what befalls a container.
type Script struct {
	// Program is what its process does; nil is what its command says.
	Program []string
	// PrepareErr and StartErr are answered instead of doing it.
	PrepareErr, StartErr error
	// PrepareTime and StartTime are what it takes.
	PrepareTime, StartTime time.Duration
	// Healthcheck is the check that the container's image asks for.
	Healthcheck *api.HealthConfig
}

// Event is something that happened to a container, for tests that look at the
// order of things.
type Event struct {
	At   time.Time
	Op   Op
	ID   string
	Task api.TaskID
}

// Op is what happened.
type Op string

// Ops.
const (
	OpPrepare Op = "prepare"
	OpStart   Op = "start"
	OpSignal  Op = "signal"
	OpEnd     Op = "end"
	OpRemove  Op = "remove"
	// An Exec begins, and what it ran is gone.
	OpExec    Op = "exec"
	OpExecEnd Op = "exec-end"
)

// maxJournal bounds what a long random test keeps.
const maxJournal = 10000

// NewHost returns a board without containers.
func NewHost(c Config) *Host {
	return &Host{config: c, containers: map[string]*container{}, pids: 100, born: time.Now(), outage: make(chan struct{})}
}

// Open returns a driver of the board's containers.
func (h *Host) Open() *Driver { return &Driver{host: h} }

// SetDown takes the runtime away, or brings it back. Containers go on.
func (h *Host) SetDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case down && h.outage != nil:
		close(h.outage)
		h.outage = nil
	case !down && h.outage == nil:
		h.outage = make(chan struct{})
	}
}

// CodeUnknown is the exit code of a process whose end nobody saw.
const CodeUnknown = 255

// Reboot ends every process as a power cut does: those that were started are
// known to have ended, but not how.
func (h *Host) Reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, c := range h.containers {
		if c.process == nil {
			continue
		}
		c.process.abandon()
		lost := &container{Container: c.Container, script: c.script}
		lost.process = &process{
			host: h, container: lost, started: c.process.started, exit: &runtime.Exit{Code: CodeUnknown, At: time.Now()},
			ended: make(chan struct{}), lost: make(chan struct{}),
		}
		close(lost.process.ended)
		h.containers[id] = lost
	}
}

// Wipe loses all containers, as a runtime does whose state is not on a disk or
// was deleted.
func (h *Host) Wipe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.containers {
		if c.process != nil {
			c.process.abandon()
		}
	}
	clear(h.containers)
}

// Kill ends a running container's process from outside, with an exit code.
func (h *Host) Kill(id string, code int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.containers[id]
	if c == nil || c.state() != runtime.Running {
		return fmt.Errorf("kill %s: %w", id, runtime.ErrNotRunning)
	}
	c.process.end(code)
	return nil
}

// Containers returns what is on the board, by ID.
func (h *Host) Containers() []runtime.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.list()
}

// Spec returns a container as it was asked for.
func (h *Host) Spec(id string) (runtime.Container, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.containers[id]
	if !ok {
		return runtime.Container{}, false
	}
	return c.Container, true
}

// Journal returns what happened, oldest first; the oldest of very much is forgotten.
func (h *Host) Journal() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.journal)
}

func (h *Host) list() []runtime.Status {
	out := make([]runtime.Status, 0, len(h.containers))
	for c := range maps.Values(h.containers) {
		out = append(out, c.status())
	}
	slices.SortFunc(out, func(a, b runtime.Status) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// log is called with mu held.
func (h *Host) log(op Op, c *container) {
	if len(h.journal) >= maxJournal {
		h.journal = slices.Delete(h.journal, 0, maxJournal/10)
	}
	h.journal = append(h.journal, Event{At: time.Now(), Op: op, ID: c.ID, Task: c.Task})
}

// container is guarded by Host.mu.
type container struct {
	runtime.Container
	script  Script
	process *process // nil before Start
	removed bool
	files   sync.Map // see machine
}

func (c *container) state() runtime.State {
	switch {
	case c.process == nil:
		return runtime.Created
	case c.process.exit == nil:
		return runtime.Running
	default:
		return runtime.Exited
	}
}

func (c *container) status() runtime.Status {
	s := runtime.Status{ID: c.ID, Task: c.Task, Attempt: c.Attempt, State: c.state()}
	if c.process != nil {
		s.StartedAt = c.process.started
	}
	switch s.State {
	case runtime.Running:
		s.PID = c.process.pid
	case runtime.Exited:
		exit := *c.process.exit
		s.Exit = &exit
	}
	return s
}
