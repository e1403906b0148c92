// Package bench measures what docs/benchmarks.md says of a fleet: sizes,
// memory, what an idle fleet costs, how soon one forms and how soon it gets
// over a death; and the same of Docker Swarm where the two are compared.
//
// It works on labs (internal/lab) through the command lines that a person
// would use, so that nothing is left out of a time. It does not judge how the
// machine it runs on compares with a board: each figure stands beside its limit
// and the command that repeats it.
package bench
