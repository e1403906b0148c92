package mem

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func at(host int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), 2377)
}

func open(t *testing.T, n *Network, host int) *Host {
	t.Helper()
	h, err := n.Host(at(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func send(t *testing.T, h *Host, to int, text string) {
	t.Helper()
	if _, err := h.WriteTo([]byte(text), net.UDPAddrFromAddrPort(at(to))); err != nil {
		t.Fatal(err)
	}
}

// gather reads until nothing has come for a second.
func gather(t *testing.T, h *Host) []string {
	t.Helper()
	var all []string
	for buf := make([]byte, 2048); ; {
		_ = h.SetReadDeadline(time.Now().Add(time.Second))
		n, from, err := h.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s>%s", from, buf[:n]))
	}
}

func TestPacketsArriveInOrderAfterTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := open(t, n, 1), open(t, n, 2)
		n.SetFaults(Faults{Delay: 10 * time.Millisecond})
		start := time.Now()
		send(t, a, 2, "one")
		send(t, a, 2, "two")
		buf := make([]byte, 16)
		for _, want := range []string{"one", "two"} {
			k, from, err := b.ReadFrom(buf)
			if err != nil || string(buf[:k]) != want || from.String() != at(1).String() {
				t.Errorf("read %q from %v, %v", buf[:k], from, err)
			}
		}
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestEqualSeedsGiveEqualFaults(t *testing.T) {
	run := func(seed uint64) (got string) {
		synctest.Test(t, func(t *testing.T) {
			n := New(seed)
			a, b := open(t, n, 1), open(t, n, 2)
			n.SetFaults(Faults{Loss: 0.3, Duplicate: 0.2, Delay: time.Millisecond, Jitter: 5 * time.Millisecond})
			for i := range 200 {
				send(t, a, 2, fmt.Sprint(i))
			}
			got = strings.Join(gather(t, b), " ")
		})
		return got
	}
	first := run(7)
	if run(7) != first {
		t.Error("the same seed gave other faults")
	}
	if run(8) == first {
		t.Error("another seed gave the same faults")
	}
	if n := len(strings.Fields(first)); n < 130 || n > 210 {
		t.Errorf("%d of 200 packets at 30%% loss and 20%% duplicates", n)
	}
}

func TestPartitionLinkAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b, c := open(t, n, 1), open(t, n, 2), open(t, n, 3)
		everybody := func() {
			for _, h := range []*Host{a, b, c} {
				for to := 1; to <= 3; to++ {
					send(t, h, to, "x")
				}
			}
		}
		counts := func() string {
			everybody()
			return fmt.Sprint(len(gather(t, a)), len(gather(t, b)), len(gather(t, c)))
		}
		if got := counts(); got != "3 3 3" {
			t.Errorf("whole: %s", got)
		}
		n.Partition([]netip.Addr{at(1).Addr()})
		if got := counts(); got != "1 2 2" {
			t.Errorf("split: %s", got)
		}
		n.Heal()
		n.SetLink(at(1).Addr(), at(2).Addr(), Faults{Loss: 1})
		if got := counts(); got != "3 2 3" {
			t.Errorf("one way cut: %s", got)
		}
		n.Heal()
		if got := counts(); got != "3 3 3" {
			t.Errorf("healed: %s", got)
		}
	})
}

func TestCrashAndSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := open(t, n, 1), open(t, n, 2)
		n.Crash(at(2))
		send(t, a, 2, "to the dead")
		send(t, b, 1, "from the dead")
		if got := gather(t, a); len(got) != 0 {
			t.Errorf("the dead speak: %v", got)
		}
		next := open(t, n, 2)
		send(t, a, 2, "hello")
		if got := gather(t, next); len(got) != 1 {
			t.Errorf("successor got %v", got)
		}
		if got := gather(t, b); len(got) != 0 {
			t.Errorf("the dead hear: %v", got)
		}
		_ = b.Close()
		if _, err := n.Host(at(2)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("closing the dead freed its successor's address: %v", err)
		}
	})
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		a, b := open(t, n, 1), open(t, n, 2)
		if err := n.Move(at(2), at(9)); err != nil {
			t.Fatal(err)
		}
		send(t, a, 2, "old")
		send(t, a, 9, "new")
		send(t, b, 1, "back")
		if got := fmt.Sprint(gather(t, b)); got != "[10.0.0.1:2377>new]" {
			t.Errorf("moved host got %s", got)
		}
		if got := fmt.Sprint(gather(t, a)); got != "[10.0.0.9:2377>back]" {
			t.Errorf("got %s", got)
		}
		if err := n.Move(at(9), at(1)); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("moved onto another: %v", err)
		}
	})
}

func TestCloseEndsReadAndDeadlineWakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		h := open(t, n, 1)
		ended := make(chan error, 1)
		read := func() {
			_, _, err := h.ReadFrom(make([]byte, 1))
			ended <- err
		}
		go read()
		synctest.Wait()
		_ = h.SetReadDeadline(time.Now())
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		_ = h.SetReadDeadline(time.Time{})
		go read()
		synctest.Wait()
		_ = h.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("close: %v", err)
		}
		if _, err := h.WriteTo([]byte("x"), h.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
	})
}
