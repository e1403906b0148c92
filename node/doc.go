// Package node makes a board out of the rooms: it is the only one that knows
// them all, and holds no logic that any of them could hold.
//
// A board's life is a sequence of memberships. Without one it seeks: it joins
// the fleet of its key or token, or founds it. With one it runs the agent, a
// door for newcomers, its share of the images, and, where the fleet wants it,
// a share of the log; in the terms that it leads, also the manager. All of a
// membership ends with its context, in reverse order.
package node
