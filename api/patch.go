package api

import "time"

// ServicePatch is a change to a ServiceSpec: what is nil or empty is
// unchanged. The leader merges it into the spec of the moment, so two changes
// to different fields never undo each other.
type ServicePatch struct {
	LabelAdd    map[string]string `json:",omitempty"`
	LabelRemove []string          `json:",omitempty"`

	Image    *string   `json:",omitempty"`
	Command  *[]string `json:",omitempty"`
	Args     *[]string `json:",omitempty"`
	Hostname *string   `json:",omitempty"`
	Dir      *string   `json:",omitempty"`
	User     *string   `json:",omitempty"`
	ReadOnly *bool     `json:",omitempty"`

	// EnvAdd replaces a variable of the same name. EnvRemove has names.
	EnvAdd    []string `json:",omitempty"`
	EnvRemove []string `json:",omitempty"`
	// ContainerLabelAdd and -Remove change labels of the tasks' containers.
	ContainerLabelAdd    map[string]string `json:",omitempty"`
	ContainerLabelRemove []string          `json:",omitempty"`
	// MountAdd replaces a mount of the same target. MountRemove has targets.
	MountAdd    []Mount  `json:",omitempty"`
	MountRemove []string `json:",omitempty"`
	// SecretAdd and ConfigAdd replace a reference of the same name; the removals
	// have names or IDs.
	SecretAdd    []SecretReference `json:",omitempty"`
	SecretRemove []string          `json:",omitempty"`
	ConfigAdd    []ConfigReference `json:",omitempty"`
	ConfigRemove []string          `json:",omitempty"`
	// PublishAdd replaces a port of the same target and protocol;
	// PublishRemove has target ports, in both protocols unless one is given.
	PublishAdd    []PortConfig `json:",omitempty"`
	PublishRemove []PortConfig `json:",omitempty"`

	ConstraintAdd    []string `json:",omitempty"`
	ConstraintRemove []string `json:",omitempty"`
	MaxReplicas      *uint64  `json:",omitempty"`
	// PreferenceAdd puts preferences after those there are.
	PreferenceAdd    []PlacementPreference `json:",omitempty"`
	PreferenceRemove []PlacementPreference `json:",omitempty"`
	// NetworkAdd replaces an attachment to the same network; NetworkRemove has
	// names or IDs.
	NetworkAdd    []NetworkAttachment `json:",omitempty"`
	NetworkRemove []string            `json:",omitempty"`
	EndpointMode  *ResolutionMode     `json:",omitempty"`

	Limits       *ResourcesPatch `json:",omitempty"`
	Reservations *ResourcesPatch `json:",omitempty"`
	// GenericResourceAdd replaces a reservation of the same kind;
	// GenericResourceRemove has kinds.
	GenericResourceAdd    []GenericResource `json:",omitempty"`
	GenericResourceRemove []string          `json:",omitempty"`

	RestartCondition   *RestartCondition `json:",omitempty"`
	RestartDelay       *time.Duration    `json:",omitempty"`
	RestartMaxAttempts *uint64           `json:",omitempty"`
	RestartWindow      *time.Duration    `json:",omitempty"`
	StopSignal         *string           `json:",omitempty"`
	StopGracePeriod    *time.Duration    `json:",omitempty"`
	Health             *HealthPatch      `json:",omitempty"`

	OptionsPatch

	// Replicas of a replicated job are its TotalCompletions.
	Replicas      *uint64 `json:",omitempty"`
	MaxConcurrent *uint64 `json:",omitempty"`

	Update   *UpdateConfigPatch `json:",omitempty"`
	Rollback *UpdateConfigPatch `json:",omitempty"`

	// Force replaces the tasks even if nothing else changes.
	Force bool `json:",omitempty"`
}

// ResourcesPatch changes Resources; 0 lifts a bound.
type ResourcesPatch struct {
	NanoCPUs    *int64 `json:",omitempty"`
	MemoryBytes *int64 `json:",omitempty"`
	Pids        *int64 `json:",omitempty"`
}

// UpdateConfigPatch changes an UpdateConfig.
type UpdateConfigPatch struct {
	Parallelism     *uint64        `json:",omitempty"`
	Delay           *time.Duration `json:",omitempty"`
	FailureAction   *FailureAction `json:",omitempty"`
	Monitor         *time.Duration `json:",omitempty"`
	MaxFailureRatio *float64       `json:",omitempty"`
	Order           *UpdateOrder   `json:",omitempty"`
}
