// Package consensus keeps one ordered log of opaque entries on the fleet's
// managers, by raft, and says who leads. It does not know what an entry means,
// who should be a manager, or how peers are reached beyond dialling an ID.
//
// A Node is one manager's share: its log and votes in raft.db, its snapshots
// beside it, and the machine that the log drives. What it adds to
// hashicorp/raft:
//
//   - a log store on bbolt that checks the whole file before it trusts it, and
//     that never leaves behind an entry which raft was told was not stored;
//   - silence when the disk hangs: a leader that can't write must not keep its
//     followers quiet with heartbeats, or nobody is ever elected
//     (hashicorp/raft issue 503);
//   - what the entries say kept on disk for this node alone: sealed, where there is
//     a key to seal with;
//   - few and honest round trips when idle, and no writes at all;
//   - a leader's silence noticed when it is due, not when a random timer fires;
//   - terms of leadership as scopes: what runs while this node leads is told
//     to end when it no longer does, and is waited for.
package consensus
