// Package forecast tells what planners would do about a service: it lets them
// plan for a fleet in which agents do at once what they are told, and writes
// down what becomes of each slot.
//
// It is pure: no goroutine, clock, randomness or I/O, and nothing that it plans
// is ever committed. It foresees neither failures nor what else may change.
package forecast
