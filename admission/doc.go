// Package admission is how a board becomes a member: how a fresh board and a
// fleet prove themselves to each other, how the boards of a first start agree
// on who founds their fleet, and how two fleets that were founded apart
// become one.
//
// The Door answers on the join protocol, on members and on boards that wait.
// The Client speaks to a Door; the Seeker uses it to bring a board into a
// fleet, or to found one, the Applicant to wait until an operator accepts it
// (docs/adr/0006-accept-by-code.md); the Folder uses it to find fleets that ours should
// give way to. Memory is what a board keeps of all this across restarts.
//
// A proof is bound to the TLS channel that it is made on and never tells the
// secret (docs/adr/0003-admission.md). What is heard by discovery is only a
// hint of whom to ask (docs/adr/0002-founding.md).
//
// The package does not keep the fleet's state, sign certificates, or decide
// what a member may do: the node lends it those through Fleet.
package admission
