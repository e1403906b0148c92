// Package roles decides which nodes vote: it looks at the members and at raft's
// configuration and says what the leader should do next, so that the fleet keeps
// 1, 3 or 5 voters by itself, replaces those that are lost, and never stays at
// an even number, or below what it could have, when it could do better.
//
// It is pure, as the other planners are, and does nothing itself. What it
// decides follows from raft's configuration and the nodes alone, so a leader
// that fails half way leaves nothing that its successor does not see.
package roles
