package qemutests

import (
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
	"github.com/edgeswarm/edgeswarm/qemu-tests/disk"
)

// TestBoot says how long boards take from power-on until each of them says that
// all of them are members and ready: with a new card, after a shutdown, and after
// a pulled plug. It is asked as a user would ask, which costs the board a login.
// Its lines are those of docs/benchmarks.md.
func TestBoot(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := newFleet(t)
			for range n {
				f.plug(board.Virt, f.card(board.Virt))
			}
			f.boots("a new card")
			for _, b := range f.boards {
				f.do(b.ShutDown(f.within(patient)))
			}
			f.boots("second boot")
			for _, b := range f.boards {
				f.do(b.PowerCut(disk.Some))
			}
			f.boots("boot after a pulled plug")
		})
	}
}

// boots powers all boards on, waits until they are a fleet, and says how long that took.
func (f *fleet) boots(which string) {
	f.t.Helper()
	begun := time.Now()
	f.power(f.boards...)
	f.up(f.boards...)
	in := time.Since(begun)
	f.whole(booting, f.boards...)
	f.t.Logf("%d at once, %s: power-on to joined %.1f s, to a login by SSH %.1f s", len(f.boards), which, time.Since(begun).Seconds(), in.Seconds())
	f.t.Logf("where the time of %s went:\n%s", f.boards[0].Name(), f.shell(f.boards[0], bootSteps))
}

// bootSteps prints how long systemd says that the steps of the boot took, when units were started and
// ready, in microseconds of the kernel's clock, and the first line of the journal in each second.
const bootSteps = `journalctl -b --no-pager | grep -o "Startup finished.*"
for u in edge-setup systemd-udevd systemd-udev-trigger systemd-journald systemd-networkd edge-ssh edged edged-containerd multi-user.target; do
	systemctl show $u -p Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic | tr '\n' ' '; echo; done
journalctl -b -o short-monotonic --no-pager | tr -d '[]' | awk '{ now = int($1); if (now != last) print substr($0, 1, 150); last = now }' | head -80`
