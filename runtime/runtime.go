// Package runtime runs containers on this board: Driver is the interface,
// containerd the real one, sim the one under tests of other rooms, and
// runtimetest the suite that both pass.
//
// A Driver knows containers, not tasks: what to run when, and what an end
// means, is the agent's.
package runtime

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Errors, for errors.Is.
var (
	// ErrNotFound: no such container (or it is gone meanwhile).
	ErrNotFound = errors.New("no such container")
	// ErrUnavailable: the runtime does not answer; it may later.
	ErrUnavailable = errors.New("container runtime does not answer")
	// ErrInvalid: the container can never be made as asked (a bad mount source,
	// a user that is not in the image, …).
	ErrInvalid = errors.New("container can't be made")
	// ErrNotRunning: the container is not running.
	ErrNotRunning = errors.New("container is not running")
)

// Driver runs containers. Every method may be repeated: doing what is already
// done succeeds. Containers outlive the process that made them.
type Driver interface {
	// Info says what runs tasks here; an error wraps ErrUnavailable.
	Info(ctx context.Context) (Info, error)
	// Gone returns nil once a runtime that has answered is seen to go away, as
	// when its daemon ends; at once if it is not there. One that only falls silent
	// it does not see: Info tells that. It costs nothing while it waits.
	Gone(ctx context.Context) error
	// Prepare makes a container from an image that is complete on this board,
	// so that Start has little left to do. An error wraps ErrInvalid if it can
	// never be, ErrNotFound if the image is not here.
	Prepare(ctx context.Context, c Container) error
	// Start begins its process and returns its PID.
	Start(ctx context.Context, id string) (pid int, err error)
	// Wait returns when the process has ended, at once if it already has, also
	// when it was started before this program was.
	Wait(ctx context.Context, id string) (Exit, error)
	// Stop sends the signal ("SIGTERM"; "" is the image's own, else SIGTERM),
	// then after grace SIGKILL, and returns when the process has ended. A
	// container that never started is fine.
	Stop(ctx context.Context, id, signal string, grace time.Duration) error
	// Remove deletes the container and all that was made for it. It kills.
	Remove(ctx context.Context, id string) error
	// List answers all containers that this node made, whoever runs them.
	List(ctx context.Context) ([]Status, error)
	// Exec runs one more process in a running container, until it ends or ctx
	// does: it returns once the process is gone.
	Exec(ctx context.Context, id string, p Process, io Streams) (exitCode int, err error)
	// Usage answers what a running container has taken of the board so far.
	// MemoryLimit is the container's own, 0 without.
	Usage(ctx context.Context, id string) (api.Usage, error)
	// Healthcheck answers the check that the image of a container asks for, of
	// kind CMD, CMD-SHELL or NONE; nil if it asks for none. It is what it was
	// when the container was prepared.
	Healthcheck(ctx context.Context, id string) (*api.HealthConfig, error)
}

// Info describes the runtime.
type Info struct {
	Name    string // "containerd"
	Version string
}

// Container is one attempt of a task, all decided: no name is left to resolve.
type Container struct {
	// ID is unique on the board: see ContainerID.
	ID      string
	Task    api.TaskID
	Attempt int
	// Image is the digest ("sha256:…") of the index or manifest to run.
	Image    api.ImageID
	Spec     api.ContainerSpec // Image in it is for people
	Hostname string
	// Mounts are bind mounts and tmpfs only: volumes are resolved to paths.
	Mounts []api.Mount
	// Devices are named by path: classes are resolved.
	Devices []api.Device
	Limits  api.Resources
	// SwapBytes beside the memory limit; nil is none, -1 without limit.
	SwapBytes *int64
	// NetNS is the path of a network namespace; "" shares the board's.
	NetNS string
	// Stdout and Stderr are FIFOs that something reads for as long as the
	// container lives, or "" to discard.
	Stdout, Stderr string
	// CgroupParent under which the container's cgroup is made ("/edgeswarm").
	CgroupParent string
	Labels       map[string]string
}

// ContainerID names an attempt of a task on its board.
func ContainerID(task api.TaskID, attempt int) string {
	return string(task) + "." + strconv.Itoa(attempt)
}

// State of a container.
type State string

// Container states.
const (
	Created State = "created"
	Running State = "running"
	Exited  State = "exited"
)

// Status is a container as the runtime sees it.
type Status struct {
	ID      string
	Task    api.TaskID
	Attempt int
	State   State
	PID     int
	Exit    *Exit // with Exited
	// StartedAt is when Start was called, by the board's clock, which may have
	// been set since; zero before.
	StartedAt time.Time
}

// Exit is how a process ended.
type Exit struct {
	Code int // 128 + n if killed by signal n
	At   time.Time
	// OOMKilled is set if the kernel killed it for want of memory.
	OOMKilled bool
}

// Process is one more process of a container.
type Process struct {
	Args []string
	Env  []string // added to the container's
	Dir  string   // "" is the container's
	User string   // "" is the container's
	TTY  bool
}

// Streams are an Exec's input and output. Nil ones are closed or discarded.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer // unused with TTY
	// Resize receives the terminal's size, with TTY.
	Resize <-chan api.TerminalSize
}
