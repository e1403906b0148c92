// Package daemon keeps a containerd running on a board that has none of its
// own: the distribution's program, with the least configuration that runs
// tasks, as a unit of its own, so that neither it nor a task ends with edged.
// One that an earlier edged started is taken over as it is.
//
// It does not install containerd, does not speak to it (the driver does), and
// does not touch one that somebody else runs.
package daemon
