package api

import (
	"errors"
	"fmt"
)

// Kind says what a caller can do about an error.
type Kind string

// The closed list of kinds. It crosses the wire; a kind unknown to the reader
// is treated as Internal.
const (
	// NotFound: the named thing does not exist.
	NotFound Kind = "not found"
	// Conflict: the thing exists, is in use, or has changed meanwhile; read it and decide again.
	Conflict Kind = "conflict"
	// NotLeader: another node decides this; Error.Leader may name it.
	NotLeader Kind = "not leader"
	// Unavailable: it may work later, unchanged; a caller may retry with the same request ID.
	Unavailable Kind = "unavailable"
	// Invalid: the request can never work as it is; the message names the field.
	Invalid Kind = "invalid"
	// Denied: the caller may not do this.
	Denied Kind = "denied"
	// Internal: a defect of ours.
	Internal Kind = "internal"
)

// Error is an error that crosses the wire. Err says what, why and what to do,
// in one line; Op says what was being done ("create service").
type Error struct {
	Kind   Kind
	Op     string
	Leader NodeID // set with NotLeader, when known
	Err    error
}

func (e *Error) Error() string {
	text := string(e.Kind)
	if e.Err != nil {
		text = e.Err.Error()
	}
	if e.Op == "" {
		return text
	}
	return e.Op + ": " + text
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of the given kind. The format may wrap with %w.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the outermost Error in err's chain, Internal for
// another error, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
