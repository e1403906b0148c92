package api

import (
	"net/netip"
	"slices"
	"time"
)

// Service is a declared wish for tasks, and the record of bringing it about.
type Service struct {
	ID ServiceID
	Meta
	Spec ServiceSpec
	// SpecVersion counts changes to what tasks are made of (TaskTemplate and
	// ports); a task made from an older one is to be replaced. Scaling does
	// not change it.
	SpecVersion uint64
	// PreviousSpec is what `service rollback` returns to.
	PreviousSpec *ServiceSpec `json:",omitempty"`
	// Rollout is the update that is under way or was the last one.
	Rollout *Rollout `json:",omitempty"`
	// UpdateStatus is Rollout in Docker's words.
	UpdateStatus *UpdateStatus `json:",omitempty"`
	// JobStatus is which run of a job is the present one; nil for other modes.
	JobStatus *JobStatus `json:",omitempty"`
	// VirtualIPs balance over the service's tasks, one in each of its networks.
	VirtualIPs []NetworkAddr `json:",omitempty"`
	// Pending is set while the service is being removed: its tasks go first.
	PendingDelete bool `json:",omitempty"`
}

// ServiceSpec is what the user declares.
type ServiceSpec struct {
	Annotations
	TaskTemplate   TaskSpec
	Mode           ServiceMode
	UpdateConfig   *UpdateConfig `json:",omitempty"`
	RollbackConfig *UpdateConfig `json:",omitempty"`
	EndpointSpec   *EndpointSpec `json:",omitempty"`
}

// ServiceMode is a choice of one.
type ServiceMode struct {
	Replicated    *ReplicatedService `json:",omitempty"`
	Global        *GlobalService     `json:",omitempty"`
	ReplicatedJob *ReplicatedJob     `json:",omitempty"`
	GlobalJob     *GlobalJob         `json:",omitempty"`
}

// ReplicatedService runs a number of tasks anywhere.
type ReplicatedService struct {
	Replicas *uint64 `json:",omitempty"` // nil is 1
}

// GlobalService runs one task on every node that fits.
type GlobalService struct{}

// TaskSpec is what each task of a service is.
type TaskSpec struct {
	ContainerSpec ContainerSpec
	Resources     *ResourceRequirements `json:",omitempty"`
	RestartPolicy *RestartPolicy        `json:",omitempty"`
	Placement     *Placement            `json:",omitempty"`
	// Networks a task is attached to; "host" shares the board's. Empty is the
	// board's own bridge with outgoing NAT.
	Networks []NetworkAttachment `json:",omitempty"`
	// ForceUpdate changes to replace tasks whose spec is otherwise equal.
	ForceUpdate uint64 `json:",omitempty"`
}

func (t TaskSpec) onHostNetwork() bool {
	return slices.ContainsFunc(t.Networks, func(n NetworkAttachment) bool { return n.Target == NetworkHost })
}

// NetworkHost is the Target that shares the board's network.
const NetworkHost = "host"

// NetworkAttachment names a network of a task.
type NetworkAttachment struct {
	Target string
	// ID of the network; filled in when the service is made or changed. "" for the
	// board's own.
	ID NetworkID `json:",omitempty"`
	// Aliases are further names of the service in this network.
	Aliases []string `json:",omitempty"`
}

// ContainerSpec is the process of a task.
type ContainerSpec struct {
	// Image is pinned when the service is made: "name:tag@sha256:…".
	Image  string
	Labels map[string]string `json:",omitempty"`
	// Command replaces the image's entrypoint, Args its cmd.
	Command  []string `json:",omitempty"`
	Args     []string `json:",omitempty"`
	Hostname string   `json:",omitempty"`
	Env      []string `json:",omitempty"` // "NAME=value"
	Dir      string   `json:",omitempty"`
	User     string   `json:",omitempty"` // name or uid[:gid]
	ReadOnly bool     `json:",omitempty"`
	Mounts   []Mount  `json:",omitempty"`
	// Secrets and Configs are files that the fleet keeps.
	Secrets []SecretReference `json:",omitempty"`
	Configs []ConfigReference `json:",omitempty"`
	// StopSignal by name ("SIGTERM"); "" is the image's, else SIGTERM.
	StopSignal string `json:",omitempty"`
	// StopGracePeriod is how long a task may take to end before it is killed; nil is 10 s.
	StopGracePeriod *time.Duration `json:",omitempty"`
	// Healthcheck is how a task proves that it serves; nil is the image's own.
	Healthcheck *HealthConfig `json:",omitempty"`
	ContainerOptions
}

// MountType is where a mount comes from.
type MountType string

// Mount types.
const (
	MountBind   MountType = "bind"
	MountVolume MountType = "volume"
	MountTmpfs  MountType = "tmpfs"
)

// Mount is a file system that a task sees.
type Mount struct {
	Type         MountType
	Source       string        `json:",omitempty"` // path (bind) or name (volume)
	Target       string        // absolute path in the task
	ReadOnly     bool          `json:",omitempty"`
	TmpfsOptions *TmpfsOptions `json:",omitempty"`
}

// TmpfsOptions bound a tmpfs.
type TmpfsOptions struct {
	SizeBytes int64  `json:",omitempty"` // 0: the kernel's default
	Mode      uint32 `json:",omitempty"` // 0: 01777
}

// ResourceRequirements are what a task may use and what is kept for it.
type ResourceRequirements struct {
	Limits       *Resources `json:",omitempty"`
	Reservations *Resources `json:",omitempty"`
	// SwapBytes is the swap that a task may use beside its memory limit; -1 is
	// without limit. Nil is none: swap on a card wears it out.
	SwapBytes *int64 `json:",omitempty"`
}

// RestartCondition says which ends of a task are followed by a new attempt.
type RestartCondition string

// Restart conditions, as in Swarm.
const (
	RestartNone      RestartCondition = "none"
	RestartOnFailure RestartCondition = "on-failure"
	RestartAny       RestartCondition = "any"
)

// RestartPolicy is how an ended task comes back. Nil fields mean Swarm's
// defaults: any, 5 s, without limit, unbounded window.
type RestartPolicy struct {
	Condition   RestartCondition `json:",omitempty"`
	Delay       *time.Duration   `json:",omitempty"`
	MaxAttempts *uint64          `json:",omitempty"` // 0: without limit
	Window      *time.Duration   `json:",omitempty"` // 0: all attempts count
}

// Placement bounds where a task may run.
type Placement struct {
	// Constraints in Swarm's words: "node.labels.zone==attic", "node.role!=manager".
	Constraints []string `json:",omitempty"`
	// Preferences order the nodes that fit.
	Preferences []PlacementPreference `json:",omitempty"`
	// MaxReplicas is the most tasks of the service on one node; 0 is no bound.
	MaxReplicas uint64 `json:",omitempty"`
	// Platforms the image has; filled in when the image is pinned. Empty: any.
	Platforms []Platform `json:",omitempty"`
}

// UpdateOrder says which of a slot's two tasks goes first.
type UpdateOrder string

// Update orders.
const (
	StopFirst  UpdateOrder = "stop-first"
	StartFirst UpdateOrder = "start-first"
)

// FailureAction is what an update does when too much of it fails.
type FailureAction string

// Failure actions.
const (
	FailurePause    FailureAction = "pause"
	FailureContinue FailureAction = "continue"
	FailureRollback FailureAction = "rollback"
)

// UpdateConfig is how an update or a rollback walks through the tasks. A nil
// config is Swarm's defaults: 1, 0 s, pause, 5 s, 0, stop-first.
type UpdateConfig struct {
	Parallelism uint64 // 0: all at once
	// Delay between the end of one wave and the start of the next.
	Delay         time.Duration
	FailureAction FailureAction `json:",omitempty"`
	// Monitor is how long after its start a task's end counts as the update's failure.
	Monitor time.Duration
	// MaxFailureRatio of 0..1; the action fires when it is exceeded.
	MaxFailureRatio float64
	Order           UpdateOrder `json:",omitempty"`
}

// EndpointSpec is how a service is reached.
type EndpointSpec struct {
	// Mode is how the service's name is answered; "" is vip.
	Mode  ResolutionMode `json:",omitempty"`
	Ports []PortConfig   `json:",omitempty"`
}

// ResolutionMode is what a service's name stands for in its networks.
type ResolutionMode string

// Resolution modes, as in Swarm.
const (
	// ResolutionVIP is one address that balances over the tasks.
	ResolutionVIP ResolutionMode = "vip"
	// ResolutionDNSRR is the addresses of the tasks themselves.
	ResolutionDNSRR ResolutionMode = "dnsrr"
)

// Protocol of a published port.
type Protocol string

// Protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// PublishMode is where a port is published.
type PublishMode string

// Publish modes, as in Swarm.
const (
	// PublishHost is on the board of each task, for that task alone.
	PublishHost PublishMode = "host"
	// PublishIngress is on every board of the fleet, for all the tasks: those of
	// the board that is asked come first.
	PublishIngress PublishMode = "ingress"
)

// PortConfig publishes a task's port on boards.
type PortConfig struct {
	Protocol   Protocol
	TargetPort uint16
	// PublishedPort on the board. With 0 one is picked of
	// DynamicPortFirst..DynamicPortLast: in host mode by the scheduler for each
	// task, in ingress mode when the service is declared, and noted here.
	PublishedPort uint16
	PublishMode   PublishMode
	// Address limits it to the boards' addresses in this IPv4 subnet; zero is all.
	Address netip.Prefix `json:",omitzero"`
}

// Published are the ports that are published in a mode.
func (e *EndpointSpec) Published(mode PublishMode) (ports []PortConfig) {
	if e == nil {
		return nil
	}
	for _, p := range e.Ports {
		if p.orDefault().PublishMode == mode {
			ports = append(ports, p)
		}
	}
	return ports
}

// The range from which ports are picked, as in Docker.
const (
	DynamicPortFirst = 30000
	DynamicPortLast  = 32767
)

// Rollout is all that a leader must know to carry an update on: it is stored,
// so that a successor neither forgets nor repeats a step. Times are remaining
// durations, never instants, because the successor's clock may say 1970.
type Rollout struct {
	// Target is the SpecVersion that tasks are moved to.
	Target uint64
	// Rollback is set when Target is the return to a previous spec.
	Rollback bool `json:",omitempty"`
	// Rebalance is set when tasks are moved and stay what they are: what is left
	// to move is found anew for each wave. Moved is how many were.
	Rebalance bool `json:",omitempty"`
	Moved     int  `json:",omitempty"`
	State     UpdateState
	// Wave counts waves started; 0 before the first. Tasks are the new tasks of
	// the latest one: it has ended once each of them runs or has failed.
	Wave  int
	Tasks []TaskID `json:",omitempty"`
	// Wait is how long after the end of the wave, as this leader has seen it,
	// the next one may start.
	Wait time.Duration `json:",omitempty"`
	// Total is the number of slots to change, counted when the first wave began;
	// Failed is how many of the new tasks were rejected or ended within the
	// monitor period.
	Total  int
	Failed int `json:",omitempty"`
	// Judged holds the new tasks whose failure is already counted and that
	// still exist, so that none counts twice.
	Judged []TaskID `json:",omitempty"`
}

// UpdateState is where an update stands, in Docker's words.
type UpdateState string

// Update states.
const (
	UpdateUpdating          UpdateState = "updating"
	UpdatePaused            UpdateState = "paused"
	UpdateCompleted         UpdateState = "completed"
	UpdateRollbackStarted   UpdateState = "rollback_started"
	UpdateRollbackPaused    UpdateState = "rollback_paused"
	UpdateRollbackCompleted UpdateState = "rollback_completed"
)

// Over reports whether an update has nothing left to do.
func (s UpdateState) Over() bool { return s == UpdateCompleted || s == UpdateRollbackCompleted }

// UpdateStatus is an update in Docker's words, for people and programs.
type UpdateStatus struct {
	State       UpdateState
	StartedAt   *time.Time `json:",omitempty"`
	CompletedAt *time.Time `json:",omitempty"`
	Message     string     `json:",omitempty"`
}

// Key returns the service's ID.
func (s *Service) Key() string { return string(s.ID) }

// Head returns the object's metadata.
func (s *Service) Head() *Meta { return &s.Meta }

// Replicas returns the wanted number of tasks of a replicated service, 0 for another mode.
func (s ServiceSpec) Replicas() uint64 {
	switch {
	case s.Mode.Replicated == nil:
		return 0
	case s.Mode.Replicated.Replicas == nil:
		return 1
	default:
		return *s.Mode.Replicated.Replicas
	}
}
