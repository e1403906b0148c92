package network

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// check has a board try its ways.
func (l *lan) check(board string) (found api.NetworkCheck) {
	l.t.Helper()
	b := l.boards[board]
	if _, err := io.WriteString(b.in, "check\n"); err != nil {
		l.t.Fatal(err)
	}
	line, err := b.out.ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &found)
	}
	if err != nil {
		l.t.Fatalf("board %s: %q, %v", board, line, err)
	}
	return found
}

// broken are the ways that are, with why, by where they lead.
func broken(c api.NetworkCheck) map[string]string {
	list := map[string]string{}
	for _, w := range c.Ways {
		if w.Err != "" {
			list[w.To] = w.Err
		}
	}
	return list
}

// TestCheckFindsWhatIsBroken: and says what, and finds nothing where nothing is.
func TestCheckFindsWhatIsBroken(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	n := vxlanNetwork(1, "b1", "b2", "b3")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	web := &api.Endpoint{Network: n.ID, Service: "web", Name: "web", VirtualIP: netip.MustParseAddr("10.9.1.1")}
	for _, task := range []*api.Task{a, b} {
		node := api.NodeID("b1")
		if task == b {
			node = "b2"
		}
		web.Backends = append(web.Backends, api.Backend{Task: task.ID, Node: node, Addr: task.Addresses[0].Addr})
	}
	names := l.everywhere([]*api.NetworkInfo{n}, web)
	l.learn(names...)
	toB := "web/" + api.ShortID(b.ID)

	found := l.check("b1")
	if len(found.Ways) != 4 || len(found.Trouble) > 0 || len(broken(found)) > 0 {
		t.Fatalf("all is well, and it finds %+v", found)
	}
	for _, w := range found.Ways {
		if w.Latency <= 0 || w.Latency > time.Second || w.MTU != 1450 {
			t.Errorf("the way to %s is %+v", w.To, w)
		}
	}

	find := func(harm, heal string, ns string, to map[string]string) {
		t.Helper()
		l.in(ns, harm)
		got := broken(l.check("b1"))
		for end, words := range to {
			if !strings.Contains(got[end], words) {
				t.Errorf("after %q the way to %s is %q; want %q", harm, end, got[end], words)
			}
		}
		if len(got) != len(to) {
			t.Errorf("after %q these are broken: %v", harm, got)
		}
		l.in(ns, heal)
		for deadline := time.Now().Add(10 * time.Second); len(broken(l.check("b1"))) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("after %q these are still broken: %v", heal, broken(l.check("b1")))
			}
		}
	}
	b2 := l.boards["b2"].ns
	find("ip link set lan down", "ip link set lan up", b2, map[string]string{"b2": "the LAN between the two boards is cut", toB: "the LAN between the two boards is cut"})
	find("nft 'add table ip t; add chain ip t c { type filter hook prerouting priority -310; }; add rule ip t c udp dport 4789 drop'", "nft delete table ip t", b2,
		map[string]string{"b2": "a firewall between them", toB: "a firewall between them"})
	find("nft 'add table ip t; add chain ip t c { type filter hook prerouting priority -310; }; add rule ip t c udp dport 4789 ip length > 1400 drop'", "nft delete table ip t", b2,
		map[string]string{"b2": "packets of 1450 bytes", toB: "packets of 1450 bytes"})
	// Something inside the task.
	find("nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c icmp type echo-request drop'", "nft delete table ip t", l.nsOf("b2", b), map[string]string{toB: "its task does not"})

	// Rules that another program took away, until they are mended.
	deadline := time.Now().Add(10 * time.Second)
	for {
		l.in(l.boards["b1"].ns, "nft flush ruleset")
		if trouble := strings.Join(l.check("b1").Trouble, "\n"); strings.Contains(trouble, "rules that keep networks apart") && strings.Contains(trouble, "rules that balance services") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("rules that are gone were not found missing")
		}
	}
	// What the board could not make.
	l.in(l.boards["b1"].ns, "ip link add other type bridge && ip link set other up && ip addr add 10.9.1.200/29 dev other")
	for deadline := time.Now().Add(10 * time.Second); ; {
		if trouble := strings.Join(l.check("b1").Trouble, "\n"); strings.Contains(trouble, "overlaps 10.9.1.200/29") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Sprint("a subnet that collides was not found: ", l.check("b1").Trouble))
		}
	}
}
