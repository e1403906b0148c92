package api

import (
	"crypto/rand"
	"math/big"
)

// IDs are random, 25 base-36 characters (128 bits), as Swarm prints them. They
// are never derived from names, addresses or clocks.
type (
	// FleetID names a fleet for its whole life.
	FleetID string
	// NodeID names a board for its whole membership; its hostname is only a name.
	NodeID string
	// ServiceID names a service.
	ServiceID string
	// TaskID names one slot's incarnation on one node.
	TaskID string
	// ImageID is the digest of an image's index or manifest, "sha256:…".
	ImageID string
	// RequestID names one user intent, so that its retry is not a second one.
	RequestID string
)

// IDLength is the number of characters in a generated ID.
const IDLength = 25

// NewID returns a fresh random ID. It panics only if the system's random
// source fails, which crypto/rand itself treats as fatal.
func NewID[T ~string]() T {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	return IDFromBytes[T](raw)
}

// IDFromBytes renders 128 bits as an ID. Planners that must be pure are handed
// a source of bytes and use this instead of NewID.
func IDFromBytes[T ~string](raw [16]byte) T {
	text := new(big.Int).SetBytes(raw[:]).Text(36)
	for len(text) < IDLength {
		text = "0" + text
	}
	return T(text)
}

// IsID reports whether s has the form of a generated ID.
func IsID(s string) bool {
	if len(s) != IDLength {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// ShortID returns the first 12 characters of an ID, for people to read.
func ShortID[T ~string](id T) string {
	if len(id) <= 12 {
		return string(id)
	}
	return string(id[:12])
}
