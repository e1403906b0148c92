package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// ingressNetwork has an address for each board.
func ingressNetwork(boards ...string) *api.NetworkInfo {
	n := &api.NetworkInfo{ID: "ingress", Name: "ingress", Driver: api.DriverVXLAN, VNI: 99, Subnet: netip.MustParsePrefix("10.9.99.0/24"), Ingress: true}
	for i, b := range boards {
		n.Blocks = append(n.Blocks, api.BlockOwner{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.9.99.%d/32", i+1)), Node: api.NodeID(b)})
	}
	return n
}

// outsider is a host on the boards' LAN that is none of them, at 192.168.77.100.
func (l *lan) outsider() (ns string) {
	l.t.Helper()
	ns = filepath.Join(l.dir, "outsider.ns")
	if err := host.NewNetNS(ns); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := host.RemoveNetNS(ns); err != nil {
			l.t.Error(err)
		}
	})
	sh(l.t, "ip link add outsider type veth peer name out1 && ip link set outsider master lan0 up")
	l.t.Cleanup(func() { sh(l.t, "ip link del outsider") })
	l.plugIn(ns, "out1")
	l.in(ns, "ip link set lo up && ip link set out1 up && ip addr add 192.168.77.100/24 dev out1")
	return ns
}

// publishing is a service of tasks, by board, and its port 8080 on every board.
func (l *lan) publishing(protocol api.Protocol, tasks map[string][]*api.Task) *api.Endpoint {
	e := &api.Endpoint{Network: "ingress", Service: api.ServiceID("web-" + protocol), Ports: []api.PortConfig{
		{Protocol: protocol, PublishedPort: 8080, TargetPort: 80, PublishMode: api.PublishIngress},
	}}
	for board, list := range tasks {
		for _, t := range list {
			e.Backends = append(e.Backends, api.Backend{Task: t.ID, Node: api.NodeID(board)})
		}
	}
	return e
}

// heard counts the answers to so many connections.
func (l *lan) heard(ns, addr string, times int) map[string]int {
	l.t.Helper()
	heard := map[string]int{}
	for answer := range strings.FieldsSeq(l.in(ns, fmt.Sprintf("for i in $(seq %d); do busybox nc -w3 %s 8080 </dev/null || echo failed; done", times, addr))) {
		heard[answer]++
	}
	return heard
}

// datagramEnv has this test's program send a datagram: "source port, address and
// port".
const datagramEnv = "EDGE_NETWORK_TEST_DATAGRAM"

// datagram sends one and answers the answer.
func (l *lan) datagram(ns string, from int, to string) string {
	l.t.Helper()
	return l.in(ns, fmt.Sprintf("%s=1 %s='%d %s' %s", insideEnv, datagramEnv, from, to, os.Args[0]))
}

func sendDatagram(what string) error {
	var from int
	var to string
	if _, err := fmt.Sscan(what, &from, &to); err != nil {
		return err
	}
	target, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", &net.UDPAddr{Port: from}, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return err
	}
	buf := make([]byte, 2048)
	if _, err = conn.Write([]byte("x")); err == nil {
		err = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	}
	if err != nil {
		return err
	}
	n, err := conn.Read(buf)
	fmt.Print(string(buf[:n]))
	return err
}

func TestPublishedOnEveryBoard(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	outside := l.outsider()
	n := ingressNetwork("b1", "b2", "b3")
	tasks := map[string][]*api.Task{"b1": {l.on("b1", 0)}, "b2": {l.on("b2", 0), l.on("b2", 0)}}
	asker := l.on("b3", 0)
	names := l.everywhere([]*api.NetworkInfo{n}, l.publishing(api.TCP, tasks), l.publishing(api.UDP, tasks))
	l.learn(names...)
	serve(t, l.nsOf("b1", tasks["b1"][0]), "one:source")
	serve(t, l.nsOf("b2", tasks["b2"][0]), "two:source")
	serve(t, l.nsOf("b2", tasks["b2"][1]), "three:source")

	// A board's own tasks come first, and see who asks.
	if got := l.heard(outside, "192.168.77.1", 5); got["one:192.168.77.100"] != 5 {
		t.Errorf("the board of one task answers %v", got)
	}
	if got := l.heard(outside, "192.168.77.2", 10); got["two:192.168.77.100"] != 5 || got["three:192.168.77.100"] != 5 {
		t.Errorf("the board of two tasks answers %v", got)
	}
	// One without any hands on to all alike, and the answers come back by it.
	if got := l.heard(outside, "192.168.77.3", 30); got["one:10.9.99.3"] != 10 || got["two:10.9.99.3"] != 10 || got["three:10.9.99.3"] != 10 {
		t.Errorf("a board without tasks of it answers %v", got)
	}
	// The boards' own programs, and other tasks.
	for _, addr := range []string{"127.0.0.1", "192.168.77.3", "192.168.77.1"} {
		if got := l.heard(l.boards["b3"].ns, addr, 3); got["failed"] != 0 {
			t.Errorf("a program of a board is answered %v at %s", got, addr)
		}
	}
	if got := l.heard(l.boards["b1"].ns, "127.0.0.1", 2); got["failed"] != 0 {
		t.Errorf("a program beside the task is answered %v", got)
	}
	if got := l.heard(l.nsOf("b3", asker), "192.168.77.3", 3); got["failed"] != 0 {
		t.Errorf("a task of another service is answered %v", got)
	}
	if got := l.heard(l.nsOf("b1", tasks["b1"][0]), "192.168.77.1", 2); got["failed"] != 0 {
		t.Errorf("a task that asks its own port is answered %v", got)
	}
	for _, addr := range []string{"192.168.77.1", "192.168.77.3"} {
		if got := l.datagram(outside, 7000, addr+":8080"); !strings.Contains(got, ":") {
			t.Errorf("a datagram to %s is answered %q", addr, got)
		}
	}

	// Nothing else of the network is reached from outside it.
	l.in(outside, "ip route add 10.9.99.0/24 via 192.168.77.3")
	if out, err := l.try(outside, fmt.Sprintf(quick, "10.9.99.1")); err == nil {
		t.Errorf("who is outside reaches another board by the network: %s", out)
	}

	// The last task of a board goes: it hands on. One that was told late hands
	// nothing on twice.
	gone := tasks["b1"]
	tasks["b1"] = nil
	l.everywhere([]*api.NetworkInfo{n}, l.publishing(api.TCP, tasks), l.publishing(api.UDP, tasks))
	l.learn("b1")
	if got := l.heard(outside, "192.168.77.1", 4); got["two:10.9.99.1"] != 2 || got["three:10.9.99.1"] != 2 {
		t.Errorf("a board that has lost its task answers %v", got)
	}
	began := time.Now()
	if got := l.heard(outside, "192.168.77.3", 3); got["failed"] != 1 || time.Since(began) > 3*time.Second {
		t.Errorf("a board that knows of the lost task answers %v after %v", got, time.Since(began))
	}
	l.learn("b2", "b3")
	if got := l.heard(outside, "192.168.77.3", 4); got["failed"] != 0 {
		t.Errorf("it answers %v once told", got)
	}
	_ = gone

	for _, harm := range []string{"nft flush ruleset", "nft flush chain ip edgeswarm-ingress postrouting", "nft delete table ip edgeswarm-ingress"} {
		l.in(l.boards["b3"].ns, harm)
		for deadline := time.Now().Add(5 * time.Second); ; {
			if out, err := l.try(outside, "busybox nc -w1 192.168.77.3 8080 </dev/null"); err == nil && out != "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("published ports were not mended after %q", harm)
			}
		}
	}
	l.everywhere(nil)
	l.learn(names...)
	if out := l.in(l.boards["b3"].ns, "nft list ruleset; ip -br link"); strings.Contains(out, ingressTable) || strings.Contains(out, "edgex") {
		t.Errorf("nothing is published any more, and there is\n%s", out)
	}
}

// TestDatagramsFollow: who goes on sending to a task that is gone is led to
// another.
func TestDatagramsFollow(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	outside := l.outsider()
	n := ingressNetwork("b1", "b2")
	tasks := map[string][]*api.Task{"b1": {l.on("b1", 0)}, "b2": {l.on("b2", 0)}}
	l.learn(l.everywhere([]*api.NetworkInfo{n}, l.publishing(api.UDP, tasks))...)
	serve(t, l.nsOf("b1", tasks["b1"][0]), "one")
	serve(t, l.nsOf("b2", tasks["b2"][0]), "two")
	send := func() string { return l.datagram(outside, 7777, "192.168.77.1:8080") }
	if got := send(); got != "one" {
		t.Fatalf("answered %q", got)
	}
	tasks["b1"] = nil
	l.learn(l.everywhere([]*api.NetworkInfo{n}, l.publishing(api.UDP, tasks))...)
	if got := send(); got != "two" {
		t.Errorf("the same sender is answered %q once the task is gone", got)
	}
}

// TestDatagramsToAServiceFollow: the same within a network.
func TestDatagramsToAServiceFollow(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	n := vxlanNetwork(1, "b1", "b2")
	one, two, client := l.on("b1", 1, n), l.on("b2", 1, n), l.on("b1", 2, n)
	web := &api.Endpoint{Network: n.ID, Service: "web", Name: "web", VirtualIP: netip.MustParseAddr("10.9.1.1")}
	serving := func(task *api.Task) {
		web.Backends = []api.Backend{{Task: task.ID, Addr: task.Addresses[0].Addr}}
		l.learn(l.everywhere([]*api.NetworkInfo{n}, web)...)
	}
	serving(one)
	serve(t, l.nsOf("b1", one), "one")
	serve(t, l.nsOf("b2", two), "two")
	for _, want := range []string{"one", "two"} {
		if got := l.datagram(l.nsOf("b1", client), 7777, "10.9.1.1:80"); got != want {
			t.Errorf("the sender is answered %q, want %q", got, want)
		}
		serving(two)
	}
}

// TestPublishedPortInUse: a program of a board keeps its port, which is said, and
// the port is published there once it is free.
func TestPublishedPortInUse(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	outside := l.outsider()
	n := ingressNetwork("b1", "b2")
	tasks := map[string][]*api.Task{"b2": {l.on("b2", 0)}}
	e := l.publishing(api.TCP, tasks)
	e.Ports[0].PublishedPort = 80 // what serve listens on
	kept := listenIn(t, l.boards["b1"].ns, "mine")
	l.everywhere([]*api.NetworkInfo{n}, e)
	l.learn("b2")
	if err := l.tell("b1"); !strings.Contains(err, "port 80/tcp of this board is in use by another program") {
		t.Errorf("the board says %q", err)
	}
	serve(t, l.nsOf("b2", tasks["b2"][0]), "published")
	ask := func(addr string) string { return l.in(outside, "busybox nc -w2 "+addr+" 80 </dev/null") }
	if mine, other := ask("192.168.77.1"), ask("192.168.77.2"); mine != "mine" || other != "published" {
		t.Errorf("the boards answer %q and %q", mine, other)
	}
	kept()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if out, err := l.try(outside, "busybox nc -w1 192.168.77.1 80 </dev/null"); err == nil && out == "published" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the port was free and is not published")
		}
	}
}

// TestPublishedOnSomeAddresses: a port can be limited to some of the boards'
// addresses, and then others keep theirs of that number.
func TestPublishedOnSomeAddresses(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	outside := l.outsider()
	n := ingressNetwork("b1", "b2")
	tasks := map[string][]*api.Task{"b2": {l.on("b2", 0)}}
	e := l.publishing(api.TCP, tasks)
	e.Ports[0].Address = netip.MustParsePrefix("192.168.77.0/24")
	for _, b := range []string{"b1", "b2"} {
		l.in(l.boards[b].ns, "ip addr add 172.30.0.1/32 dev lo")
	}
	l.in(outside, "ip route add 172.30.0.1/32 via 192.168.77.1")
	l.learn(l.everywhere([]*api.NetworkInfo{n}, e)...)
	serve(t, l.nsOf("b2", tasks["b2"][0]), "published")
	for _, addr := range []string{"192.168.77.1", "192.168.77.2"} {
		if got := l.heard(outside, addr, 1); got["published"] != 1 {
			t.Errorf("%s answers %v", addr, got)
		}
	}
	if got := l.heard(outside, "172.30.0.1", 1); got["failed"] != 1 {
		t.Errorf("an address that is not meant answers %v", got)
	}
}

// TestHandedOnSegmentsFit: what is handed on over a narrower way is neither lost
// nor cut into pieces.
func TestHandedOnSegmentsFit(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	outside := l.outsider()
	n := ingressNetwork("b1", "b2")
	tasks := map[string][]*api.Task{"b2": {l.on("b2", 0)}}
	l.learn(l.everywhere([]*api.NetworkInfo{n}, l.publishing(api.TCP, tasks))...)
	sink := l.nsOf("b2", tasks["b2"][0])
	l.in(sink, "(busybox nc -l -p 80 -e /bin/sh -c 'head -c 3000000 /dev/zero; cat >/dev/null' >/dev/null 2>&1 &)")
	// Nobody says that a packet is too large: only the segments' size helps.
	l.in(outside, "nft add table ip t && nft 'add chain ip t in { type filter hook input priority 0; }' && nft add rule ip t in icmp type destination-unreachable drop")
	got := l.in(outside, "busybox nc -w5 192.168.77.1 8080 </dev/null | wc -c")
	if got != "3000000" {
		t.Errorf("%s bytes of 3000000 arrived", got)
	}
}

// TestRulesAreKnownWithoutReadingThem: each transaction of ours counts as one, so
// that one of another's in between is noticed.
func TestRulesAreKnownWithoutReadingThem(t *testing.T) {
	l := newLocal(t)
	n, in := vxlanNetwork(1, "b1"), ingressNetwork("b1")
	e := &api.Endpoint{Network: in.ID, Service: "web", Ports: []api.PortConfig{{Protocol: api.TCP, PublishedPort: 8080, TargetPort: 80}}}
	vip := &api.Endpoint{Network: n.ID, Service: "web", VirtualIP: netip.MustParseAddr("10.9.1.1")}
	for range 2 {
		l.Learn(agent.Fabric{Node: "b1", Networks: []*api.NetworkInfo{n, in}, Endpoints: []*api.Endpoint{e, vip}})
		if err := l.reconcile(); err != nil {
			t.Fatal(err)
		}
		c, err := newChange()
		if err != nil {
			t.Fatal(err)
		}
		now, err := c.generation()
		c.end()
		if err != nil || now == 0 || l.rules.generation != now {
			t.Fatalf("rules are of generation %d, %v, and are taken for %d", now, err, l.rules.generation)
		}
		vip.Backends = []api.Backend{{Task: "t", Node: "b2", Addr: netip.MustParseAddr("10.9.1.70")}}
		vip = api.Clone(vip)
	}
	l.Learn(agent.Fabric{Node: "b1"})
	if err := l.reconcile(); err != nil {
		t.Fatal(err)
	}
}
