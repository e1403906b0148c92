// Package flagvalue reads the notations of the command line that a Docker user
// knows: durations, sizes, mounts, published ports, key=value lists. Each
// parser refuses what can't work and says what to write instead.
//
// It is pure but for env files, and knows no command.
package flagvalue
