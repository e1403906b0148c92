// Package mem is a LAN in memory: hosts that exchange UDP packets through
// queues, with seeded loss, delay, duplication, partitions, crashes and
// changes of address. Real QUIC runs on top of it, so that whole fleets run in
// one process, inside a testing/synctest bubble and in no real time.
//
// It starts no goroutine: a packet waits in its receiver's queue until the
// reader finds that its time has come. A Network that is used inside a bubble
// must be made inside it. It knows nothing of QUIC, and it is not for
// production.
package mem
