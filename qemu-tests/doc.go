// Package qemutests boots whole fleets of emulated boards from the image that
// users flash, and tests what no smaller test can: the card, the kernel, the
// boot, and power that goes at any moment. It holds no code but tests; what it
// is made of are the packages below: ethernet, router, disk, machine, board.
//
// Nothing runs without -qemu: README.md says how.
package qemutests
