// Package api is the fleet's vocabulary: every noun, typed ID, state and error
// kind, and the wire definitions by which programs and nodes speak of them.
//
// A noun keeps what the user wants (its Spec), what was decided (the object)
// and what was observed (its Status) apart. Field names follow the Docker
// Engine API wherever Swarm has the thing, so that a Swarm user guesses right
// and a Docker-compatible endpoint can be laid over it.
//
// The package holds no behaviour beyond validation, ordering, merging and
// encoding of its own values; it does no I/O and imports no other room.
package api
