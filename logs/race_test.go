//go:build race

package logs

// raceEnabled: the race detector needs several times the memory.
const raceEnabled = true
