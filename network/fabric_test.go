package network

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// boardEnv makes this test's program a board's network: it names a file that
// says which. A line on standard input has it read again; its end ends it.
const boardEnv = "EDGE_NETWORK_TEST_BOARD"

// board is what one is to have, as the file says it.
type board struct {
	Dir    string
	Mesh   MeshConfig
	Fabric agent.Fabric
}

// beBoard is the life of a board's network.
func beBoard(path string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var l *Local
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "check" {
			found, err := json.Marshal(l.Check(ctx, nil))
			if err != nil {
				return err
			}
			fmt.Println(string(found))
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var b board
		if err := json.Unmarshal(raw, &b); err != nil {
			return err
		}
		if l == nil {
			l = New(Config{Dir: b.Dir, Mesh: b.Mesh, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("board", b.Fabric.Node)})
			go l.Run(ctx)
		}
		l.Learn(b.Fabric)
		var ids []api.TaskID
		for _, t := range b.Fabric.Tasks {
			if _, err := l.Attach(ctx, t); err != nil {
				return err
			}
			ids = append(ids, t.ID)
		}
		if err := l.Retain(ctx, ids); err != nil {
			return err
		}
		if err := l.reconcile(); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		end, err := json.Marshal(l.Mesh())
		if err != nil {
			return err
		}
		fmt.Println("ready", string(end))
	}
	if l == nil {
		return nil
	}
	return l.End(ctx)
}

// lan is boards in namespaces of their own, on one bridge.
type lan struct {
	t      *testing.T
	dir    string
	boards map[string]*boardProcess
}

type boardProcess struct {
	board
	ns   string // path of its namespace
	in   io.Writer
	out  *bufio.Reader
	end  api.MeshEnd // as it told last
	kill func()
}

// newLAN makes boards at 192.168.77.1, .2 and so on.
func newLAN(t *testing.T, names ...string) *lan {
	t.Helper()
	l := &lan{t: t, dir: t.TempDir(), boards: map[string]*boardProcess{}}
	sh(t, "ip link add lan0 type bridge && ip link set lan0 up")
	t.Cleanup(func() { sh(t, "ip link del lan0") })
	var peers []api.Peer
	for i, name := range names {
		peers = append(peers, api.Peer{ID: api.NodeID(name), Name: name, Addrs: []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("192.168.77.%d:2377", i+1))}})
	}
	for i, name := range names {
		ns := filepath.Join(l.dir, name+".ns")
		if err := host.NewNetNS(ns); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := host.RemoveNetNS(ns); err != nil {
				t.Error(err)
			}
		})
		sh(t, fmt.Sprintf(`ip link add %[1]s type veth peer name lan && ip link set %[1]s master lan0 up`, name))
		t.Cleanup(func() { sh(t, "ip link del "+name) })
		l.plugIn(ns, "lan")
		l.in(ns, fmt.Sprintf("ip addr add 192.168.77.%d/24 dev lan && ip link set lan up && ip link set lo up", i+1))
		others := slices.DeleteFunc(slices.Clone(peers), func(p api.Peer) bool { return p.Name == name })
		l.boards[name] = &boardProcess{ns: ns, board: board{Dir: filepath.Join(l.dir, name), Mesh: l.meshConfig(name), Fabric: agent.Fabric{Node: api.NodeID(name), Peers: others}}}
		l.start(l.boards[name], filepath.Join(l.dir, name+".json"))
	}
	return l
}

func (l *lan) open(path string) *os.File {
	l.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		l.t.Fatal(err)
	}
	return f
}

// plugIn moves a link into a namespace.
func (l *lan) plugIn(ns, link string) {
	l.t.Helper()
	handle := l.open(ns)
	defer handle.Close()
	inner, err := netlink.LinkByName(link)
	if err == nil {
		err = netlink.LinkSetNsFd(inner, int(handle.Fd()))
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lan) start(b *boardProcess, file string) {
	l.t.Helper()
	cmd := exec.Command("nsenter", "--net="+b.ns, os.Args[0])
	cmd.Env = append(os.Environ(), insideEnv+"=1", boardEnv+"="+file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	killed := false
	l.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && !killed {
			l.t.Error(err)
		}
	})
	b.kill = func() {
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			l.t.Error(err)
		}
	}
	b.in, b.out = in, bufio.NewReader(out)
}

// learn has a board take in what its Fabric says now.
func (l *lan) learn(names ...string) {
	l.t.Helper()
	for _, name := range names {
		if trouble := l.tell(name); trouble != "" {
			l.t.Fatalf("board %s: %s", name, trouble)
		}
	}
}

// tell is learn for one board, which may have trouble with it.
func (l *lan) tell(name string) (trouble string) {
	l.t.Helper()
	b := l.boards[name]
	raw, err := json.Marshal(b.board)
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, name+".json"), raw, 0o644)
	}
	if err == nil {
		_, err = io.WriteString(b.in, "again\n")
	}
	if err != nil {
		l.t.Fatal(err)
	}
	line, err := b.out.ReadString('\n')
	if err != nil {
		l.t.Fatalf("board %s: %v", name, err)
	}
	end, ready := strings.CutPrefix(line, "ready ")
	if !ready {
		return line
	}
	if err := json.Unmarshal([]byte(end), &b.end); err != nil {
		l.t.Fatalf("board %s: %q, %v", name, line, err)
	}
	return ""
}

// nsOf is the namespace of a task on a board.
func (l *lan) nsOf(board string, task *api.Task) string {
	return filepath.Join(l.boards[board].Dir, string(task.ID), nsFile)
}

// in runs a shell command in a namespace and answers what it prints.
func (l *lan) in(ns, command string) string {
	l.t.Helper()
	out, err := l.try(ns, command)
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func (l *lan) try(ns, command string) (string, error) {
	out, err := exec.Command("nsenter", "--net="+ns, "sh", "-c", command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func sh(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// vxlanNetwork is a network over some boards, each with a /27 of 10.9.VNI.0/24.
func vxlanNetwork(vni uint32, boards ...string) *api.NetworkInfo {
	n := &api.NetworkInfo{
		ID: api.NetworkID(fmt.Sprint("network", vni)), Name: fmt.Sprint("net", vni), Driver: api.DriverVXLAN, VNI: vni, Subnet: netip.MustParsePrefix(fmt.Sprintf("10.9.%d.0/24", vni)),
	}
	for i, b := range boards {
		n.Blocks = append(n.Blocks, api.BlockOwner{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.9.%d.%d/27", vni, 32*(i+1))), Node: api.NodeID(b)})
	}
	return n
}

// on puts a task on a board, with the address number host in the board's block
// of each network.
func (l *lan) on(board string, host int, networks ...*api.NetworkInfo) *api.Task {
	t := webTask()
	for _, n := range networks {
		addr := n.Gateway(api.NodeID(board))
		for range host {
			addr = addr.Next()
		}
		t.Addresses = append(t.Addresses, api.NetworkAddr{Network: n.ID, Addr: addr})
	}
	f := &l.boards[board].Fabric
	f.Tasks = append(f.Tasks, t)
	return t
}

// everywhere tells all boards of networks and services.
func (l *lan) everywhere(networks []*api.NetworkInfo, endpoints ...*api.Endpoint) (names []string) {
	for name, b := range l.boards {
		b.Fabric.Networks, b.Fabric.Endpoints = networks, endpoints
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const (
	fullPing = "ping -q -c2 -i0.2 -W2 -M do -s 1422 %s" // 1,450 bytes: what VXLAN leaves of 1,500
	quick    = "ping -q -c1 -W1 %s"
)

func TestTasksReachEachOtherAcrossBoards(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	one, two := vxlanNetwork(1, "b1", "b2", "b3"), vxlanNetwork(2, "b1", "b2")
	a, b, c := l.on("b1", 1, one), l.on("b2", 1, one), l.on("b3", 1, one)
	neighbour := l.on("b1", 2, one)
	both := l.on("b2", 2, one, two)
	stranger, plain := l.on("b1", 1, two), l.on("b1", 0)
	l.learn(l.everywhere([]*api.NetworkInfo{one, two})...)

	addr := func(task *api.Task) string { return task.Addresses[0].Addr.String() }
	for from, targets := range map[string][]*api.Task{l.nsOf("b1", a): {b, c, neighbour, both}, l.nsOf("b3", c): {a, b, neighbour}} {
		for _, target := range targets {
			l.in(from, fmt.Sprintf(fullPing, addr(target)))
		}
	}
	if out, err := l.try(l.nsOf("b1", a), "ping -c1 -W1 -M do -s 1423 "+addr(b)); err == nil || !strings.Contains(out, "mtu") {
		t.Errorf("a packet larger than the link's went out: %s", out)
	}
	// Its second network, and out of it the board sees the task's own address.
	l.in(l.nsOf("b1", stranger), fmt.Sprintf(fullPing, both.Addresses[1].Addr))
	serveSource(t, l.nsOf("b2", b))
	if got := l.in(l.nsOf("b1", a), "busybox nc -w2 "+addr(b)+" 80 </dev/null"); got != addr(a) {
		t.Errorf("a task's peer sees it as %q, not as %s", got, addr(a))
	}
	// A board reaches its own tasks, and those of others: health checks do.
	l.in(l.boards["b1"].ns, fmt.Sprintf(quick, addr(a)))
	l.in(l.boards["b1"].ns, fmt.Sprintf(quick, addr(b)))

	// Nobody else gets in.
	for what, from := range map[string]string{"of another network": l.nsOf("b1", stranger), "of none": l.nsOf("b1", plain)} {
		for _, target := range []*api.Task{a, b} {
			if out, err := l.try(from, fmt.Sprintf(quick, addr(target))); err == nil {
				t.Errorf("a task %s reaches %s: %s", what, addr(target), out)
			}
		}
	}
	// An address that nobody has does not leave for the LAN.
	if out := l.in(l.boards["b1"].ns, "ip route get 10.9.1.250 2>&1 || true"); strings.Contains(out, "dev lan") {
		t.Errorf("an address without owner goes to the LAN: %s", out)
	}
}

// TestForgedSourcesAreDropped: a task that may make any packet can't speak with
// another's address, nor can who is no peer through the VXLAN.
func TestForgedSourcesAreDropped(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	one, two := vxlanNetwork(1, "b1", "b2"), vxlanNetwork(2, "b1", "b2")
	a, b := l.on("b1", 1, one), l.on("b2", 1, one)
	forger := l.on("b1", 1, two)
	names := l.everywhere([]*api.NetworkInfo{one, two})
	l.boards["b1"].Fabric.Peers = slices.DeleteFunc(l.boards["b1"].Fabric.Peers, func(p api.Peer) bool { return p.Name == "b3" })
	l.learn(names[:2]...)

	count := func(want int, what string, forge func()) {
		t.Helper()
		received := func() int {
			var n int
			fmt.Sscan(l.in(l.nsOf("b1", a), `awk '/^Udp:/ && $2 ~ /[0-9]/ {print $2+$3}' /proc/net/snmp`), &n)
			return n
		}
		before := received()
		forge()
		l.in(l.nsOf("b2", b), fmt.Sprintf(quick, a.Addresses[0].Addr)) // what was sent before this has arrived
		if got := received() - before; got != want {
			t.Errorf("%s: %d packets of 1 sent arrived, want %d", what, got, want)
		}
	}
	send := func(ns string, to *api.Task) {
		l.in(ns, "bash -c 'echo x >/dev/udp/"+to.Addresses[0].Addr.String()+"/9'")
	}
	count(1, "from the peer", func() { send(l.nsOf("b2", b), a) })
	count(0, "with another task's address", func() {
		ns := l.nsOf("b1", forger)
		l.in(ns, "ip addr add 10.9.1.99/32 dev eth1 && ip route add 10.9.1.0/24 via "+two.Gateway("b1").String()+" src 10.9.1.99")
		send(ns, a)
	})
	count(0, "through the VXLAN, from a board that is no peer", func() {
		gw := one.Gateway("b1")
		l.in(l.boards["b3"].ns, fmt.Sprintf(`ip link add vx type vxlan id 1 dstport 4789 nolearning && ip link set vx up && ip addr add %[1]s/32 dev vx &&
			bridge fdb add %[2]s dev vx dst 192.168.77.1 && ip neigh add %[3]s lladdr %[2]s dev vx && ip route add 10.9.1.32/27 via %[3]s dev vx onlink src %[1]s`,
			one.Gateway("b2"), macOf(gw), gw))
		send(l.boards["b3"].ns, a)
	})
}

func TestInternalNetworkHasNoWayOut(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	n := vxlanNetwork(1, "b1", "b2")
	n.Internal = true
	open := vxlanNetwork(2, "b1", "b2")
	shut, way := l.on("b1", 1, n), l.on("b1", 2, n, open)
	l.learn(l.everywhere([]*api.NetworkInfo{n, open})...)
	if out := l.in(l.nsOf("b1", shut), "ip -4 route show default; ls /sys/class/net 2>/dev/null; ip -br link"); strings.Contains(out, "default") || !strings.Contains(out, "eth0") {
		t.Errorf("a task of an internal network has %s", out)
	}
	l.in(l.nsOf("b1", way), "ip -4 route show default | grep -q default")
}

// TestNetworksAreMended: what another tool takes away is back within 5 s, and
// nothing is made twice.
func TestNetworksAreMended(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	one, two := vxlanNetwork(1, "b1", "b2"), vxlanNetwork(2, "b1", "b2")
	a, b, stranger := l.on("b1", 1, one), l.on("b2", 1, one), l.on("b1", 1, two)
	published := webTask(tcp(30007, 80))
	l.boards["b1"].Fabric.Tasks = append(l.boards["b1"].Fabric.Tasks, published)
	l.learn(l.everywhere([]*api.NetworkInfo{one, two})...)
	ns := l.boards["b1"].ns
	reach, apart := fmt.Sprintf(quick, b.Addresses[0].Addr), fmt.Sprintf(quick, a.Addresses[0].Addr)
	for _, harm := range []string{
		"nft flush ruleset", "nft flush chain ip edgeswarm-networks forward", "ip link del edgex000001", "ip route flush dev edgex000001", "ip neigh flush dev edgex000001 nud permanent",
		"bridge fdb show dev edgex000001 | while read mac rest; do bridge fdb del $mac dev edgex000001; done", "ip addr flush dev edgex000001", "ip link set edgex000001 down",
	} {
		l.in(ns, harm)
		deadline := time.Now().Add(5 * time.Second)
		for {
			_, errReach := l.try(l.nsOf("b1", a), reach)
			_, errApart := l.try(l.nsOf("b1", stranger), apart)
			rules := l.in(ns, "nft list chain ip edgeswarm published 2>/dev/null | grep -c 30007 || true")
			if errReach == nil && errApart != nil && rules == "1" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %q: reached %v, apart %v, %s rules of the published port", harm, errReach == nil, errApart != nil, rules)
			}
		}
	}
}

// TestServicesAreBalanced: a service's address spreads connections evenly over
// its tasks on all boards, follows them, and leaves those alone that stand.
func TestServicesAreBalanced(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	n, other := vxlanNetwork(1, "b1", "b2", "b3"), vxlanNetwork(2, "b1")
	var servers []*api.Task
	for i, b := range []string{"b1", "b2", "b2", "b3"} {
		servers = append(servers, l.on(b, i+1, n))
	}
	client, stranger := l.on("b1", 9, n), l.on("b1", 1, other)
	web := &api.Endpoint{Network: n.ID, Service: "web", Name: "web", VirtualIP: netip.MustParseAddr("10.9.1.1")}
	idle := &api.Endpoint{Network: n.ID, Service: "idle", Name: "idle", VirtualIP: netip.MustParseAddr("10.9.1.2")}
	serving := func(tasks ...*api.Task) {
		web.Backends = nil
		for _, task := range tasks {
			web.Backends = append(web.Backends, api.Backend{Task: task.ID, Addr: task.Addresses[0].Addr})
		}
	}
	serving(servers...)
	names := l.everywhere([]*api.NetworkInfo{n, other}, idle, web)
	l.learn(names...)
	for i, b := range []string{"b1", "b2", "b2", "b3"} {
		serve(t, l.nsOf(b, servers[i]), fmt.Sprint("task", i))
	}
	ask := func(ns string, times int) map[string]int {
		t.Helper()
		heard := map[string]int{}
		for answer := range strings.FieldsSeq(l.in(ns, fmt.Sprintf("for i in $(seq %d); do busybox nc -w3 10.9.1.1 80 </dev/null || echo failed; done", times))) {
			heard[answer]++
		}
		return heard
	}
	if got := ask(l.nsOf("b1", client), 40); len(got) != 4 || got["task0"] != 10 || got["task3"] != 10 {
		t.Errorf("40 connections went to %v", got)
	}
	if got := ask(l.nsOf("b1", servers[0]), 8); got["task0"] != 2 || got["failed"] != 0 {
		t.Errorf("a task that asks its own service is answered by %v", got)
	}
	if out, err := l.try(l.nsOf("b1", stranger), "busybox nc -w1 10.9.1.1 80 </dev/null"); err == nil {
		t.Errorf("a task of another network is answered %q", out)
	}
	began := time.Now()
	if out, err := l.try(l.nsOf("b1", client), "busybox nc -w5 10.9.1.2 80 </dev/null"); err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("a service without tasks answers %q after %v", out, time.Since(began))
	}

	rules := "nft -a list chain ip edgeswarm-services service-0a090102"
	before := l.in(l.boards["b1"].ns, rules)
	serving(servers[0], servers[3])
	l.learn(names...)
	if got := ask(l.nsOf("b1", client), 20); len(got) != 2 || got["task0"] != 10 || got["task3"] != 10 {
		t.Errorf("20 connections went to %v", got)
	}
	if after := l.in(l.boards["b1"].ns, rules); after != before {
		t.Errorf("another service's rules were %s\nand are %s", before, after)
	}
	l.in(l.boards["b1"].ns, "nft delete table ip edgeswarm-services")
	deadline := time.Now().Add(5 * time.Second)
	for {
		if out, err := l.try(l.nsOf("b1", client), "busybox nc -w1 10.9.1.1 80 </dev/null"); err == nil && out != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("balancing was not mended")
		}
	}
	l.everywhere([]*api.NetworkInfo{n, other}, idle)
	l.learn(names...)
	if out := l.in(l.boards["b1"].ns, "nft list table ip edgeswarm-services"); strings.Contains(out, "service-0a090101") {
		t.Errorf("a removed service left %s", out)
	}
}

// state is what there is in a board's kernel.
func (l *lan) state(board string) string {
	return l.in(l.boards[board].ns, "ip -o link | cut -d: -f2 | sort; ip route show table all type unicast | grep -v 'table local' | sort; ip route show type unreachable; nft list ruleset; ls "+l.boards[board].Dir+" 2>/dev/null || true")
}

// TestNothingIsLeftBehind: 200 networks come and go, and the boards are as before.
func TestNothingIsLeftBehind(t *testing.T) {
	l := newLAN(t, "b1", "b2")
	l.on("b1", 0)
	l.on("b2", 0) // so that the bridge is there
	names := l.everywhere(nil)
	l.learn(names...)
	before := map[string]string{"b1": l.state("b1"), "b2": l.state("b2")}
	const rounds, tasks, each = 4, 5, 10 // 200 networks in all
	for round := range rounds {
		for i := range tasks {
			var of []*api.NetworkInfo
			for k := range each {
				of = append(of, vxlanNetwork(uint32((round*tasks+i)*each+k+1), "b1", "b2"))
			}
			l.on("b1", 1, of...)
			l.on("b2", 1, of...)
			for _, b := range l.boards {
				b.Fabric.Networks = append(b.Fabric.Networks, of...)
			}
		}
		l.learn(names...)
		last := l.boards["b2"].Fabric.Tasks[tasks]
		l.in(l.nsOf("b1", l.boards["b1"].Fabric.Tasks[tasks]), fmt.Sprintf(quick, last.Addresses[each-1].Addr))
		l.boards["b1"].Fabric.Tasks, l.boards["b2"].Fabric.Tasks = l.boards["b1"].Fabric.Tasks[:1], l.boards["b2"].Fabric.Tasks[:1]
		l.everywhere(nil)
		l.learn(names...)
	}
	for _, name := range names {
		if after := l.state(name); after != before[name] {
			t.Errorf("board %s had\n%s\nand has\n%s", name, before[name], after)
		}
	}
}

// TestARunningTaskIsLeftAlone: a restart of the program touches nothing that
// works, and neither does another peer.
func TestARunningTaskIsLeftAlone(t *testing.T) {
	l := newLAN(t, "b1", "b2", "b3")
	n := vxlanNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	names := l.everywhere([]*api.NetworkInfo{n})
	l.learn(names...)
	serveSource(t, l.nsOf("b2", b))
	hold := exec.Command("nsenter", "--net="+l.nsOf("b1", a), "sh", "-c", "ping -q -i0.02 -c200 -W1 "+b.Addresses[0].Addr.String())
	var out bytes.Buffer
	hold.Stdout = &out
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	l.start(l.boards["b1"], filepath.Join(l.dir, "b1.json")) // a second one on the same board takes over
	l.learn("b1")
	n.Blocks = append(n.Blocks, api.BlockOwner{Prefix: netip.MustParsePrefix("10.9.1.96/27"), Node: "b3"})
	l.learn(names...)
	if err := hold.Wait(); err != nil || !strings.Contains(out.String(), "200 received") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// serveSource answers on port 80 with the address that it is asked from.
func serveSource(t *testing.T, ns string) { serve(t, ns, sourceAnswer) }

func TestCollidingSubnetIsNotMade(t *testing.T) {
	l := newLocal(t)
	sh(t, "ip link add lan9 type bridge && ip link set lan9 up && ip addr add 10.9.1.40/28 dev lan9")
	t.Cleanup(func() { sh(t, "ip link del lan9") })
	n := vxlanNetwork(1, "b1")
	l.Learn(agent.Fabric{Node: "b1", Networks: []*api.NetworkInfo{n}})
	task := webTask()
	task.Addresses = []api.NetworkAddr{{Network: n.ID, Addr: netip.MustParseAddr("10.9.1.33")}}
	_, err := l.Attach(t.Context(), task)
	if api.KindOf(err) != api.Conflict || !strings.Contains(err.Error(), "10.9.1.32/28") {
		t.Errorf("attached with %v", err)
	}
	if subnets, err := l.Subnets(); err != nil || !slices.Contains(subnets, netip.MustParsePrefix("10.9.1.32/28")) || !slices.Contains(subnets, DefaultPool) {
		t.Errorf("the board reports %v, %v", subnets, err)
	}
	unknown := webTask()
	unknown.Addresses = []api.NetworkAddr{{Network: "other", Addr: netip.MustParseAddr("10.9.2.33")}}
	if _, err := l.Attach(t.Context(), unknown); api.KindOf(err) != api.Unavailable {
		t.Errorf("a network that is not known: %v", err)
	}
	if err := l.reconcile(); err == nil {
		t.Error("a colliding network is whole")
	}
}
