package api

import "time"

// Version is an object's place in the fleet's history: the index of the log
// entry that last changed it. Updates name the version they were decided on.
type Version struct {
	Index uint64
}

// Meta is what the store keeps of every object. Times are fleet time, which
// never runs backwards, whatever the boards' clocks say.
type Meta struct {
	Version   Version
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Object is anything the replicated state holds. Implementations are pointers
// to the noun structs; once stored, an object is never written to again:
// change a copy and store that.
type Object interface {
	// Key is the object's ID within its table.
	Key() string
	// Head is the object's metadata; only the store writes through it.
	Head() *Meta
}

// Annotations name an object and carry the user's labels.
type Annotations struct {
	Name   string            `json:",omitempty"`
	Labels map[string]string `json:",omitempty"`
}
