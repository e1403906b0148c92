package qemutests

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
)

// TestNetworks: boards' kernels carry encrypted networks themselves; services reach
// each other by name, a port is the service's on every board, and who checks the
// networks finds nothing until something is broken.
func TestNetworks(t *testing.T) {
	f := newFleet(t)
	for range 2 {
		f.plug(board.Virt, f.card(board.Virt))
	}
	f.power(f.boards...)
	f.up(f.boards...)
	f.whole(booting, f.boards...)
	asked := f.boards[0]
	f.load(asked, "web:1")
	f.must(asked, "network", "create", "back")
	f.must(asked, "service", "create", "--detach", "--name", "web", "--network", "back", "--publish", "8088:8080", "web:1")
	f.must(asked, "service", "create", "--detach", "--name", "client", "--mode", "global", "--network", "back", "web:1")
	f.runs(asked, "web", 1)
	for _, r := range f.runs(asked, "client", 2) {
		f.until(r.Name+" reaches web by name", patient, func() error {
			return accepted(f.edgectl(asked).Try(nil, "task", "exec", r.ID, "/webd", "--ask", "http://web:8080/"))
		})
	}
	for _, b := range f.boards {
		if got := f.shell(b, "grep -l DEVTYPE=wireguard /sys/class/net/*/uevent | wc -l; pidof edge-wireguard || true"); got != "1" {
			t.Errorf("%s has %q: want one link of the kernel's and no process", b.Name(), got)
		}
		f.until(b.Name()+" answers at the published port", patient, func() error { return answersAt(b, 8088, "1") })
	}
	f.until("all ways are whole", patient, func() error {
		return accepted(f.edgectl(asked).Try(nil, "network", "check"))
	})
	t.Logf("network check:\n%s", f.must(asked, "network", "check"))

	f.lan.Partition([]string{f.boards[0].Name()}, []string{f.boards[1].Name()})
	f.until("a check finds the cut", patient, func() error {
		s := f.edgectl(asked).Try(nil, "network", "check", "--broken", "back")
		if s.Code == 0 || !strings.Contains(s.Err, "the LAN between the two boards is cut") {
			return fmt.Errorf("exit %d: %s%s", s.Code, s.Out, s.Err)
		}
		return nil
	})
	f.lan.Heal()
	f.until("all ways are whole again", patient, func() error {
		return accepted(f.edgectl(asked).Try(nil, "network", "check"))
	})
	f.must(asked, "service", "rm", "web", "client")
	f.until("the network may go", patient, func() error {
		if s := f.edgectl(asked).Try(nil, "network", "rm", "back"); s.Code != 0 && !strings.Contains(s.Err, "no network") {
			return errors.New(s.Err)
		}
		return nil
	})
}
