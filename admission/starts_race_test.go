//go:build race

package admission

// coldStarts is less under the race detector, which makes each ten times as
// long: it looks for races, and the other build for the seed that founds twice.
const coldStarts = 30
