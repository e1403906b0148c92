package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEncryptedNetworks: what `network create` makes when told nothing else.
// Services find each other over the boards, nobody on the LAN reads along, and
// whatever happens to boards, links and programs, they are there again soon.
func TestEncryptedNetworks(t *testing.T) {
	t.Parallel()
	f := formed(t, 3)
	f.load(1, "1")
	f.create("plain", "--mode", "global", "web:1") // so that each board has its bridge
	f.runs(1, "plain", 3)
	before := [4]string{}
	for i := 1; i <= 3; i++ {
		before[i] = f.traces(i)
	}
	f.must(1, "network", "create", "back")
	f.must(1, "network", "create", "--driver", "vxlan", "open")
	f.create("web", "--mode", "global", "--network", "back", "--network", "open", "web:1")
	f.create("stranger", "--mode", "global", "--network", "open", "web:1")
	web, strangers := f.runs(1, "web", 3), f.runs(1, "stranger", 3)
	on := map[int]taskRow{}
	for _, w := range web {
		on[index(w.Node)] = w
	}
	for i := 1; i <= 3; i++ {
		f.until(fmt.Sprintf("web is balanced for board%d", i), soon, func() error { return f.reaches(on[i], "web.back", 3) })
	}
	at := func(i int) string { return f.addressIn("back", on[i]) }

	f.part("the LAN", func(f *fleet) {
		target := func(network string) string { return f.addressIn(network, on[2]) }
		for network, readable := range map[string]bool{"back": false, "open": true} {
			heard := f.overheard(func() {
				if s := f.ask(on[1], target(network), 5); s.Code != 0 {
					f.t.Errorf("not reached: %s", s.Err)
				}
			})
			if len(heard) < 5*100 {
				f.t.Errorf("%d bytes of five requests were overheard", len(heard))
			}
			if got := bytes.Contains(heard, []byte("version 1 on")); got != readable {
				f.t.Errorf("answers in network %s are readable on the LAN: %v", network, got)
			}
		}
		for _, s := range strangers {
			if said := f.ask(s, target("back"), 1); said.Code == 0 {
				f.t.Errorf("%s on %s reaches a task of a network that it is not on: %s", s.Name, s.Node, said.Out)
			}
		}
	})
	f.part("doctor", func(f *fleet) {
		if s := f.try(1, "doctor"); !strings.Contains(s.Out, "through WireGuard in a process of its own") && !strings.Contains(s.Out, "through the kernel's WireGuard") {
			f.t.Errorf("doctor does not say which path the board uses: %s", s.Out)
		}
	})
	f.part("keys", func(f *fleet) {
		keys := func() string {
			return f.must(1, "node", "inspect", "--format", "{{json .Description.Mesh.Keys}}", "board1", "board2", "board3")
		}
		was := strings.Fields(keys())
		f.must(2, "network", "rotate-keys")
		f.until("each board has another key", patient, func() error {
			now := strings.Fields(keys())
			for _, k := range now {
				for _, old := range was {
					if k == old || strings.Contains(k, ",") || len(now) != len(was) {
						return fmt.Errorf("keys were %v and are %v", was, now)
					}
				}
			}
			return nil
		})
		for i := 1; i <= 3; i++ {
			f.until("all speak with their new keys", soon, func() error { return f.reaches(on[i], "web.back", 3) })
		}
	})
	f.part("edged killed", func(f *fleet) {
		process := f.wireguardProcess(2)
		f.do(f.board(2).Signal(f.t.Context(), "edged", syscall.SIGKILL))
		for range 3 {
			if s := f.ask(on[1], at(2), 1); s.Code != 0 {
				f.t.Errorf("its task is not reached: %s", s.Err)
			}
		}
		f.do(f.board(2).StartEdged())
		f.until("the board is back", patient, func() error { return f.voters(1, 3) })
		f.until("its task speaks as before", soon, func() error { return f.reaches(on[2], "web.back", 3) })
		if now := f.wireguardProcess(2); now != process {
			f.t.Errorf("wireguard process %d was replaced by %d", process, now)
		}
	})
	f.part("wireguard process killed", func(f *fleet) {
		f.do(syscall.Kill(f.wireguardProcess(2), syscall.SIGKILL))
		began := time.Now()
		f.until("its task is reached again", soon, func() error { return f.askOnce(on[1], at(2)) })
		f.t.Logf("after %v", time.Since(began))
	})
	f.part("partition", func(f *fleet) {
		f.do(f.lab.Cut(f.t.Context(), f.board(3)))
		if err := f.askOnce(on[1], at(3)); err == nil {
			f.t.Error("reached through a cut")
		}
		f.do(f.lab.Heal(f.t.Context()))
		began := time.Now()
		f.until("its task is reached again", soon, func() error { return f.askOnce(on[1], at(3)) })
		f.t.Logf("after %v", time.Since(began))
		f.whole(3)
	})
	f.part("another address", func(f *fleet) {
		if _, err := f.board(3).Exec(f.t.Context(), "sh", "-c", "ip addr add 10.77.0.133/24 dev eth0 && ip addr del 10.77.0.3/24 dev eth0 && (ip addr show dev eth0 | grep -q 10.77.0.133 || ip addr add 10.77.0.133/24 dev eth0) && ip route replace default via 10.77.0.254"); err != nil {
			f.t.Fatal(err)
		}
		began := time.Now()
		f.until("its task is reached there", patient, func() error { return f.askOnce(on[1], at(3)) })
		f.t.Logf("after %v", time.Since(began))
		f.whole(3)
	})
	f.part("nothing is left", func(f *fleet) {
		f.must(2, "service", "rm", "web", "stranger")
		f.until("the networks may go", patient, func() error {
			for _, n := range []string{"back", "open"} {
				if s := f.try(1, "network", "rm", n); s.Code != 0 && !strings.Contains(s.Err, "no network") {
					return errors.New(s.Err)
				}
			}
			return nil
		})
		for i := 1; i <= 3; i++ {
			f.until(fmt.Sprintf("board%d is as before", i), soon, func() error {
				if now := strings.ReplaceAll(f.traces(i), "10.77.0.133", "10.77.0.3"); now != before[i] {
					return fmt.Errorf("it had\n%s\nand has\n%s", before[i], now)
				}
				if left := f.wireguardProcesses(i); left != "" {
					return fmt.Errorf("wireguard process %s", left)
				}
				return nil
			})
		}
	})
}

// askOnce has a task ask another, with a second to answer in.
func (f *fleet) askOnce(from taskRow, address string) error {
	if s := f.ask(from, address, 1); s.Code != 0 {
		return errors.New(s.Err)
	}
	return nil
}

// addressIn is a task's address in a network.
func (f *fleet) addressIn(network string, task taskRow) string {
	f.t.Helper()
	id := strings.TrimSpace(f.must(1, "network", "inspect", "--format", "{{.ID}}", network))
	out := f.must(1, "task", "inspect", "--format", "{{range .Addresses}}{{.Network}} {{.Addr}}\n{{end}}", task.ID)
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == id {
			return words[1]
		}
	}
	f.t.Fatalf("%s has no address in %s: %s", task.Name, network, out)
	return ""
}

// wireguardProcesses are a board's, by what its network namespace runs.
func (f *fleet) wireguardProcesses(board int) string {
	f.t.Helper()
	out, err := f.board(board).Exec(f.t.Context(), "sh", "-c", "for p in $(ip netns pids $(ip netns identify $$)); do grep -qs edge-wireguard /proc/$p/comm && echo $p; done; true")
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (f *fleet) wireguardProcess(board int) int {
	f.t.Helper()
	pid, err := strconv.Atoi(f.wireguardProcesses(board))
	if err != nil {
		f.t.Fatalf("board%d has no one wireguard process: %v", board, err)
	}
	return pid
}

// overheard is all that passes on the LAN while something is done.
func (f *fleet) overheard(do func()) (all []byte) {
	f.t.Helper()
	opened := make(chan int, 1)
	go func() { // the thread is in the LAN's namespace for good, and ends with this
		runtime.LockOSThread()
		opened <- sniffer("/run/netns/" + f.name + "-lan")
	}()
	fd := <-opened
	if fd < 0 {
		f.t.Fatal("can't listen on the LAN")
	}
	defer unix.Close(fd)
	do()
	for buf := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return all
		}
		all = append(all, buf[:n]...)
	}
}

// sniffer is a socket that hears all of a namespace; -1 if there can't be one.
func sniffer(path string) int {
	ns, err := os.Open(path)
	if err != nil || unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET) != nil {
		return -1
	}
	defer ns.Close()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(unix.ETH_P_ALL<<8))
	if err != nil || unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) != nil {
		return -1
	}
	return fd
}
