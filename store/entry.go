package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// Errors of reading what is stored, for errors.Is.
var (
	// ErrUnknownFormat: it was written by a newer version, which this build
	// must not guess at.
	ErrUnknownFormat = errors.New("written by a newer version: install that version here")
	// ErrMalformed: it is no entry or snapshot at all, or a damaged one.
	ErrMalformed = errors.New("damaged")
)

// format is of the entries and snapshots that this build writes, and the
// newest it reads. It is api.FeatureLevel by definition: a fleet's level is
// raised, and so a newer format first written, when all its nodes can read it.
const format = api.FeatureLevel

// envelope is a log entry. Its own fields never change their meaning; a format
// may add some, and changes what the payload is.
type envelope struct {
	Format int
	// MinReader is the oldest format that a reader must know to do with this
	// entry what every other manager does. An older one stops.
	MinReader int
	Request   api.RequestID `json:",omitempty"`
	Time      time.Time     // the proposer's clock
	Payload   []byte
}

// change is the payload of format 1.
type change struct {
	User    bool      `json:",omitempty"`
	About   *target   `json:",omitempty"`
	Puts    []putting `json:",omitempty"`
	Deletes []target  `json:",omitempty"`
}

// putting is an object as it will be, but for its Meta: that holds the version
// which the change was decided on, zero for a new object.
type putting struct {
	Table  string
	Object []byte
}

// target names an object, and in a delete the version it was decided on.
type target struct {
	Table   string
	Key     string
	Version uint64 `json:",omitempty"`
}

// encode renders a Tx as an entry.
func (tx *Tx) encode(op Op, now time.Time) ([]byte, error) {
	ch := change{User: op.User}
	if r := tx.record(); r.Table != "" {
		ch.About = &target{Table: r.Table, Key: r.Key}
	}
	for _, c := range tx.changes {
		name := nouns[c.noun].name
		if c.key == "" {
			return nil, api.Errorf(api.Internal, "", "a %s without an ID can't be stored", name)
		}
		if c.deleted != nil {
			ch.Deletes = append(ch.Deletes, target{name, c.key, c.deleted.Head().Version.Index})
		}
		if c.put != nil {
			raw, err := api.Encode(c.put)
			if err != nil {
				return nil, err
			}
			ch.Puts = append(ch.Puts, putting{name, raw})
		}
	}
	payload, err := api.Encode(ch)
	if err != nil {
		return nil, err
	}
	return api.Encode(envelope{Format: format, MinReader: format, Request: op.Request, Time: now.UTC(), Payload: payload})
}

// decodeEntry reads an entry. What it can't read is an error, never skipped.
func decodeEntry(raw []byte) (*envelope, *change, error) {
	var known struct{ Format, MinReader int }
	if err := api.Decode(raw, &known); err != nil { // leniently: the rest may be of a later format
		return nil, nil, fmt.Errorf("%w entry: %w", ErrMalformed, err)
	}
	if err := readable("entry", known.Format, known.MinReader); err != nil {
		return nil, nil, err
	}
	env, ch := new(envelope), new(change)
	if err := api.DecodeStrict(raw, env); err != nil {
		return nil, nil, fmt.Errorf("%w entry: %w", ErrMalformed, err)
	}
	if err := api.DecodeStrict(env.Payload, ch); err != nil {
		return nil, nil, fmt.Errorf("%w entry: %w", ErrMalformed, err)
	}
	return env, ch, nil
}

func readable(what string, written, reader int) error {
	switch {
	case written < 1 || reader < 1:
		return fmt.Errorf("%w %s: it names no format", ErrMalformed, what)
	case reader > format:
		return fmt.Errorf("%s of format %d (this build reads up to %d): %w", what, reader, format, ErrUnknownFormat)
	default:
		return nil
	}
}

// put is a putting as decoded: the object and the version decided on.
type put struct {
	ref
	obj  api.Object
	base uint64
}

// objects decodes an entry's puts.
func (ch *change) objects(written int) ([]put, error) {
	var out []put
	for _, p := range ch.Puts {
		n, err := nounNamed(p.Table)
		if err != nil {
			return nil, err
		}
		raw, err := migrate(migrations, written, p.Table, p.Object)
		if err != nil {
			return nil, err
		}
		obj, err := nouns[n].decode(raw)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrMalformed, p.Table, err)
		}
		out = append(out, put{ref{n, obj.Key()}, obj, obj.Head().Version.Index})
	}
	return out, nil
}
