package api

import "time"

// ClusterKey is the one key of the one Cluster object.
const ClusterKey = "cluster"

// FeatureLevel is the newest state format that this build writes once every
// node of the fleet can read it.
const FeatureLevel = 1

// Cluster is the fleet as a whole: who may enter, and how it runs.
type Cluster struct {
	ID FleetID
	Meta
	Spec ClusterSpec

	// FoundedAt orders fleets by age when two of one key meet: the founder's
	// clock at founding, floored by the build time. Compared with FleetID as
	// tie-breaker, so the order is total and never changes.
	FoundedAt time.Time
	// FoundedBlind is set when the founder's clock was before the build time:
	// FoundedAt says little then, and the fleet counts as younger than any that
	// was founded with a clock.
	FoundedBlind bool `json:",omitempty"`
	// Touched is set by the first write of a user and never cleared. An
	// untouched fleet folds itself into an older one of the same key.
	Touched bool
	// FoldedInto is set once, when an untouched fleet gives way; from then on
	// it takes no writes and its boards join the other.
	FoldedInto FleetID `json:",omitempty"`
	// Epoch changes when a fleet is recovered from disaster, so that its
	// assignment sets can't be confused with those of its past.
	Epoch uint64
	// Level is the fleet's feature level: no entry newer than it is written.
	Level int

	// MeshTurns counts how often the operator wanted all boards to take new keys
	// for encrypted networks.
	MeshTurns uint64 `json:",omitempty"`

	RootCA     RootCA
	JoinTokens JoinTokens
	// FleetKey proves a fresh board to the fleet and the fleet to the board;
	// "" where the fleet was made without one. Only managers hold it.
	FleetKey string `json:",omitempty"`
}

// ClusterSpec is what the operator wants of the fleet. Zero values mean the
// defaults named with each field.
type ClusterSpec struct {
	Annotations
	// Managers is the wanted number of voters: 0 lets the fleet choose, else 1, 3 or 5.
	Managers int
	// NodeCertExpiry is how long a node's certificate lasts (default 90 days,
	// least 1 minute); it renews itself when two thirds of that has passed.
	NodeCertExpiry time.Duration
	// HeartbeatPeriod is how often a node reports in (default 1.5 s, 200 ms to 1 min).
	// A node is down after NodeDownAfter without one.
	HeartbeatPeriod time.Duration
	// TaskHistoryRetentionLimit is how many ended tasks are kept for a slot (default 5).
	TaskHistoryRetentionLimit *int64 `json:",omitempty"`
}

// RootCA is the fleet's certificate authority. The key never leaves managers.
type RootCA struct {
	CertPEM []byte
	KeyPEM  []byte
}

// JoinTokens are the secrets that let a board in (see identity.Token).
type JoinTokens struct {
	Worker  JoinToken
	Manager JoinToken
}

// JoinToken is one join token and when it stops to work; a zero Expires never does.
type JoinToken struct {
	Token   string
	Expires time.Time `json:",omitzero"`
}

// Key returns ClusterKey: there is one cluster object.
func (c *Cluster) Key() string { return ClusterKey }

// Head returns the object's metadata.
func (c *Cluster) Head() *Meta { return &c.Meta }
