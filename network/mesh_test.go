package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

// wireguardProgram is edge-wireguard, built once for all tests.
var wireguardProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "edge-wireguard-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "edge-wireguard")
	out, err := exec.Command("go", "build", "-o", program, "github.com/edgeswarm/edgeswarm/cmd/edge-wireguard").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// meshConfig is a board's; the program is not there unless a test builds it.
func (l *lan) meshConfig(name string) MeshConfig {
	return MeshConfig{
		KeyFile: filepath.Join(l.dir, name+".key"), Program: filepath.Join(l.dir, "edge-wireguard"), Dir: filepath.Join(l.dir, name+".wireguard"),
	}
}

// newMeshLAN is a LAN whose boards can carry encrypted networks, and know each
// other's keys.
func newMeshLAN(t *testing.T, names ...string) *lan {
	t.Helper()
	program, err := wireguardProgram()
	if err != nil {
		t.Fatal(err)
	}
	l := newLAN(t, names...)
	if err := os.Symlink(program, filepath.Join(l.dir, "edge-wireguard")); err != nil {
		t.Fatal(err)
	}
	for _, b := range l.boards {
		b.Fabric.Fleet = "fleet"
	}
	l.learn(l.everywhere(nil)...)
	l.meet()
	return l
}

// meet has the fleet's state, which the test is, take in what boards told of their
// ends, and tells all boards; it reports whether that was news.
func (l *lan) meet() (news bool) {
	l.t.Helper()
	for _, b := range l.boards {
		b.Fabric.Mesh.Keys = b.end.Keys
		for i, p := range b.Fabric.Peers {
			end := l.boards[p.Name].end
			if end.Trouble != "" || len(end.Keys) == 0 {
				l.t.Fatalf("board %s: %+v", p.Name, end)
			}
			news = news || p.Mesh == nil || !p.Mesh.Equal(end)
			b.Fabric.Peers[i].Mesh = &end
		}
	}
	if news {
		var names []string
		for name := range l.boards {
			names = append(names, name)
		}
		slices.Sort(names)
		l.learn(names...)
	}
	return news
}

func meshNetwork(vni uint32, boards ...string) *api.NetworkInfo {
	n := vxlanNetwork(vni, boards...)
	n.Driver = api.DriverMesh
	return n
}

const fullMeshPing = "ping -q -c2 -i0.2 -W2 -M do -s 1392 %s" // 1,420 bytes: what WireGuard leaves of 1,500

func addr(task *api.Task) string { return task.Addresses[0].Addr.String() }

// reachesWithin polls until one task reaches another.
func (l *lan) reachesWithin(limit time.Duration, ns string, to *api.Task) time.Duration {
	l.t.Helper()
	began := time.Now()
	for {
		out, err := l.try(ns, fmt.Sprintf(quick, addr(to)))
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			l.t.Fatalf("%s is not reached within %v: %s", addr(to), limit, out)
		}
	}
}

func TestEncryptedNetworks(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2", "b3")
	one, two, plain := meshNetwork(1, "b1", "b2", "b3"), meshNetwork(2, "b1", "b2"), vxlanNetwork(3, "b1", "b2")
	a, b, c := l.on("b1", 1, one), l.on("b2", 1, one), l.on("b3", 1, one)
	neighbour, both := l.on("b1", 2, one), l.on("b2", 2, one, two)
	stranger := l.on("b1", 1, two)
	d, e := l.on("b1", 1, plain), l.on("b2", 1, plain)
	l.learn(l.everywhere([]*api.NetworkInfo{one, two, plain})...)

	for from, targets := range map[string][]*api.Task{l.nsOf("b1", a): {b, c, neighbour, both}, l.nsOf("b3", c): {a, b, neighbour}} {
		for _, target := range targets {
			l.in(from, fmt.Sprintf(fullMeshPing, addr(target)))
		}
	}
	if out, err := l.try(l.nsOf("b1", a), "ping -c1 -W1 -M do -s 1393 "+addr(b)); err == nil || !strings.Contains(out, "mtu") {
		t.Errorf("a packet larger than the link's went out: %s", out)
	}
	l.in(l.nsOf("b1", a), "ping -q -c1 -W2 -M dont -s 20000 "+addr(b)) // in pieces
	l.in(l.nsOf("b1", stranger), fmt.Sprintf(fullMeshPing, both.Addresses[1].Addr))
	l.in(l.nsOf("b1", d), fmt.Sprintf(fullPing, addr(e))) // beside one in plain
	serveSource(t, l.nsOf("b2", b))
	if got := l.in(l.nsOf("b1", a), "busybox nc -w2 "+addr(b)+" 80 </dev/null"); got != addr(a) {
		t.Errorf("a task's peer sees it as %q, not as %s", got, addr(a))
	}
	l.in(l.boards["b1"].ns, fmt.Sprintf(quick, addr(b)))
	for what, from := range map[string]string{"of another network": l.nsOf("b1", stranger), "of one in plain": l.nsOf("b1", d)} {
		for _, target := range []*api.Task{a, b, c} {
			if out, err := l.try(from, fmt.Sprintf(quick, addr(target))); err == nil {
				t.Errorf("a task %s reaches %s: %s", what, addr(target), out)
			}
		}
	}
	// A peer's board may send nothing but what is of its own blocks.
	send := "bash -c 'echo x >/dev/udp/" + addr(a) + "/9'"
	received := l.received(l.nsOf("b1", a))
	l.in(l.boards["b2"].ns, send)
	l.in(l.boards["b2"].ns, fmt.Sprintf("ip addr add 10.9.1.99/32 dev lo && ip route add %s/32 dev edgewg src 10.9.1.99 && %s", addr(a), send))
	l.in(l.nsOf("b2", b), fmt.Sprintf(quick, addr(a))) // what was sent before this has arrived
	if got := l.received(l.nsOf("b1", a)) - received; got != 1 {
		t.Errorf("of one packet of a board and one in another's name, %d arrived", got)
	}
	if out := l.in(l.boards["b1"].ns, "stat -c %a "+l.boards["b1"].Mesh.KeyFile+" "+l.boards["b1"].Mesh.Dir+"/edgewg.sock"); out != "600\n700" && out != "600\n600" {
		t.Errorf("key and socket have modes %s", out)
	}
}

// received counts the UDP packets that arrived in a namespace.
func (l *lan) received(ns string) (n int) {
	fmt.Sscan(l.in(ns, `awk '/^Udp:/ && $2 ~ /[0-9]/ {print $2+$3}' /proc/net/snmp`), &n)
	return n
}

// overheard is all that passes on the LAN while something is done.
func (l *lan) overheard(do func()) []byte {
	l.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(unix.ETH_P_ALL<<8))
	if err != nil {
		l.t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		l.t.Fatal(err)
	}
	do()
	var all []byte
	for buf := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			unix.Close(fd)
			return all
		}
		all = append(all, buf[:n]...)
	}
}

// TestNobodyOnTheLANReadsAlong, who would of a network in plain.
func TestNobodyOnTheLANReadsAlong(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	secret, plain := meshNetwork(1, "b1", "b2"), vxlanNetwork(2, "b1", "b2")
	a, b := l.on("b1", 1, secret), l.on("b2", 1, secret)
	c, d := l.on("b1", 1, plain), l.on("b2", 1, plain)
	l.learn(l.everywhere([]*api.NetworkInfo{secret, plain})...)
	l.in(l.nsOf("b1", a), fmt.Sprintf(quick, addr(b)))
	pattern := []byte("whoever can read this is on the way")[:16]
	ping := fmt.Sprintf("ping -q -c3 -i0.2 -W2 -s 1000 -p %x ", pattern)
	for _, c := range []struct {
		from, to *api.Task
		readable bool
	}{{a, b, false}, {c, d, true}} {
		heard := l.overheard(func() { l.in(l.nsOf("b1", c.from), ping+addr(c.to)) })
		if len(heard) < 6*1000 {
			t.Errorf("%d bytes of six packets of 1,000 were overheard", len(heard))
		}
		if got := bytes.Contains(heard, pattern); got != c.readable {
			t.Errorf("payload to %s is readable on the LAN: %v", addr(c.to), got)
		}
	}
}

// pid is that of a board's wireguard process.
func (l *lan) pid(board string) int {
	l.t.Helper()
	pid, err := wireguard.Process{Link: meshLink, Dir: l.boards[board].Mesh.Dir}.Find()
	if err != nil || pid == 0 {
		l.t.Fatalf("board %s has wireguard process %d, %v", board, pid, err)
	}
	return pid
}

// TestEncryptedNetworksOutliveTheirMaker: they go on without the program that
// made them, which takes them over when it is back; and it starts the process that
// carries them anew when that one dies.
func TestEncryptedNetworksOutliveTheirMaker(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	n := meshNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	l.learn(l.everywhere([]*api.NetworkInfo{n})...)
	l.in(l.nsOf("b1", a), fmt.Sprintf(quick, addr(b)))

	first := l.pid("b1")
	hold := exec.Command("nsenter", "--net="+l.nsOf("b1", a), "ping", "-q", "-i0.02", "-c150", "-W1", addr(b))
	var out bytes.Buffer
	hold.Stdout = &out
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	l.boards["b1"].kill()
	l.start(l.boards["b1"], filepath.Join(l.dir, "b1.json"))
	l.learn("b1")
	if err := hold.Wait(); err != nil || !strings.Contains(out.String(), "150 received") {
		t.Errorf("while the maker was away: %v: %s", err, out.String())
	}
	if now := l.pid("b1"); now != first {
		t.Errorf("process %d was replaced by %d", first, now)
	}

	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Logf("reached again %v after the process was killed", l.reachesWithin(5*time.Second, l.nsOf("b1", a), b))
	l.in(l.boards["b1"].ns, "ip link del edgewg")
	t.Logf("reached again %v after the link was removed", l.reachesWithin(10*time.Second, l.nsOf("b1", a), b))
	for _, harm := range []string{"ip addr flush dev edgewg", "ip route flush dev edgewg", "ip link set edgewg down", "nft flush ruleset"} {
		l.in(l.boards["b1"].ns, harm)
		t.Logf("reached again %v after %q", l.reachesWithin(5*time.Second, l.nsOf("b1", a), b), harm)
	}
}

// TestPeersAreFollowed: through a cut, to another address that the fleet tells of
// or does not.
func TestPeersAreFollowed(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	n := meshNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	l.learn(l.everywhere([]*api.NetworkInfo{n})...)
	from, back := l.nsOf("b1", a), l.nsOf("b2", b)
	l.in(from, fmt.Sprintf(quick, addr(b)))

	sh(t, "ip link set b2 nomaster")
	if out, err := l.try(from, fmt.Sprintf(quick, addr(b))); err == nil {
		t.Errorf("reached through a cut: %s", out)
	}
	sh(t, "ip link set b2 master lan0")
	t.Logf("reached again %v after the cut healed", l.reachesWithin(15*time.Second, from, b))

	l.in(l.boards["b2"].ns, "ip addr del 192.168.77.2/24 dev lan && ip addr add 192.168.77.22/24 dev lan")
	l.reachesWithin(15*time.Second, back, a) // it speaks from there, and is answered
	t.Logf("reached at its new address after %v, untold", l.reachesWithin(15*time.Second, from, b))

	l.in(l.boards["b2"].ns, "ip addr del 192.168.77.22/24 dev lan && ip addr add 192.168.77.32/24 dev lan")
	l.boards["b1"].Fabric.Peers[0].Addrs = []netip.AddrPort{netip.MustParseAddrPort("192.168.77.32:2377")}
	l.learn("b1")
	t.Logf("reached at its new address after %v, told", l.reachesWithin(15*time.Second, from, b))
}

// TestOneAddressTranslationInBetween: a board that the others can't reach by
// themselves opens the way, and keeps it open.
func TestOneAddressTranslationInBetween(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	n := meshNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	// b2 is moved behind b1's neighbour: another namespace, which translates.
	router := l.router(t)
	l.in(router, "nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100; }' && nft add rule ip nat post oifname lan masquerade")
	l.boards["b1"].Fabric.Peers[0].Addrs = []netip.AddrPort{netip.MustParseAddrPort("172.30.0.2:2377")}
	l.learn(l.everywhere([]*api.NetworkInfo{n})...)
	t.Logf("the board outside is reached after %v", l.reachesWithin(40*time.Second, l.nsOf("b2", b), a))
	l.in(l.nsOf("b1", a), fmt.Sprintf(fullMeshPing, addr(b)))
}

// TestLargePacketsPassANarrowWay: a link in between that takes less than the
// boards' own do. They hear of it from whoever drops what is too large, and take
// the network's own link for as narrow; until they have, they split what they send.
func TestLargePacketsPassANarrowWay(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	n := meshNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	router := l.router(t)
	l.in(l.boards["b1"].ns, "ip route add 172.30.0.0/24 via 192.168.77.200")
	l.boards["b1"].Fabric.Peers[0].Addrs = []netip.AddrPort{netip.MustParseAddrPort("172.30.0.2:2377")}
	l.in(router, "ip route replace 172.30.0.0/24 dev inner mtu lock 1300 && ip route replace 192.168.77.0/24 dev lan mtu lock 1300")
	l.learn(l.everywhere([]*api.NetworkInfo{n})...)
	l.reachesWithin(20*time.Second, l.nsOf("b2", b), a)
	for _, way := range []struct {
		from, to string
		at       *api.Task
	}{{l.nsOf("b1", a), l.nsOf("b2", b), b}, {l.nsOf("b2", b), l.nsOf("b1", a), a}} {
		// The first tell the boards how narrow the way is, and are lost.
		for began := time.Now(); ; {
			if _, err := l.try(way.from, "ping -q -c1 -W3 -M dont -s 1392 "+addr(way.at)); err == nil {
				break
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("packets to %s are lost on a way that takes 1,300 bytes", addr(way.at))
			}
		}
		if got := l.send(way.from, way.to, addr(way.at), 1<<20); got != 1<<20 {
			t.Errorf("of %d bytes to %s %d arrived", 1<<20, addr(way.at), got)
		}
	}
}

// send sends bytes over one connection, and tells how many arrived.
func (l *lan) send(from, to, at string, bytes int) (got int) {
	l.t.Helper()
	server := exec.Command("nsenter", "--net="+to, "sh", "-c", "busybox nc -l -p 901 | wc -c")
	open, err := server.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	defer open.Close()
	done := make(chan []byte, 1)
	go func() {
		out, _ := server.Output() // what it says is judged
		done <- out
	}()
	l.in(to, "until busybox netstat -tln | grep -q :901; do sleep 0.05; done")
	l.in(from, fmt.Sprintf("timeout 60 bash -c 'head -c %d /dev/zero >/dev/tcp/%s/901'", bytes, at))
	fmt.Sscan(string(<-done), &got)
	return got
}

// router moves b2 off the LAN into one of its own, 172.30.0.0/24, which a
// namespace at 192.168.77.200 leads to.
func (l *lan) router(t *testing.T) (ns string) {
	t.Helper()
	sh(t, "ip netns add "+l.name("router"))
	t.Cleanup(func() { sh(t, "ip netns del "+l.name("router")) })
	ns = "/run/netns/" + l.name("router")
	sh(t, fmt.Sprintf("ip link add router type veth peer name lan netns %[1]s && ip link set router master lan0 up", l.name("router")))
	l.in(ns, "ip addr add 192.168.77.200/24 dev lan && ip link set lan up && echo 1 > /proc/sys/net/ipv4/ip_forward")
	l.in(l.boards["b2"].ns, "ip link set lan down && ip link set lan name unplugged")
	handle := l.open(l.boards["b2"].ns)
	defer handle.Close()
	sh(t, fmt.Sprintf("ip -n %s link add inner type veth peer name outer", l.name("router")))
	l.in(ns, fmt.Sprintf("ip link set outer netns /proc/%d/fd/%d", os.Getpid(), handle.Fd()))
	l.in(ns, "ip addr add 172.30.0.1/24 dev inner && ip link set inner up")
	l.in(l.boards["b2"].ns, "ip link set outer name lan && ip addr add 172.30.0.2/24 dev lan && ip link set lan up && ip route add default via 172.30.0.1")
	return ns
}

// name makes a name unique to this run.
func (l *lan) name(what string) string { return fmt.Sprintf("edgenettest-%d-%s", os.Getpid(), what) }

// TestKeysAreTurned: with new keys on both boards, and connections stand.
func TestKeysAreTurned(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	n := meshNetwork(1, "b1", "b2")
	a, b := l.on("b1", 1, n), l.on("b2", 1, n)
	l.learn(l.everywhere([]*api.NetworkInfo{n})...)
	l.in(l.nsOf("b1", a), fmt.Sprintf(quick, addr(b)))
	before := map[string][]byte{"b1": l.boards["b1"].end.Keys[0], "b2": l.boards["b2"].end.Keys[0]}

	hold := exec.Command("nsenter", "--net="+l.nsOf("b1", a), "ping", "-D", "-i0.02", "-W1", addr(b))
	var out bytes.Buffer
	hold.Stdout = &out
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	stream := l.stream(l.nsOf("b1", a), l.nsOf("b2", b), addr(b))
	for _, board := range l.boards {
		board.Fabric.Mesh.Turns = 1
	}
	l.learn("b1", "b2")
	deadline := time.Now().Add(settle + 15*time.Second)
	for turned := false; !turned; {
		l.meet()
		l.learn("b1", "b2") // so that what they tell is of now
		turned = true
		for name, b := range l.boards {
			turned = turned && len(b.end.Keys) == 1 && !bytes.Equal(b.end.Keys[0], before[name])
		}
		if time.Now().After(deadline) {
			t.Fatalf("keys were %x, and are %x and %x", before, l.boards["b1"].end.Keys, l.boards["b2"].end.Keys)
		}
	}
	for l.meet() {
	}
	l.in(l.nsOf("b1", a), fmt.Sprintf(quick, addr(b)))
	l.in(l.nsOf("b2", b), fmt.Sprintf(quick, addr(a)))
	_ = hold.Process.Signal(os.Interrupt)
	_ = hold.Wait()
	gap := longestGap(t, out.String())
	t.Logf("keys of both boards turned: nothing came back for %v at the most", gap)
	if gap > 5*time.Second { // a machine that does much else; a keepalive late would be 25
		t.Errorf("nothing came back for %v", gap)
	}
	if sent, got := stream(); got < 1000 || got != sent {
		t.Errorf("of %d bytes on a connection that stood all the while %d arrived", sent, got)
	}
	for name, b := range l.boards {
		state, err := wireguard.Process{Link: meshLink, Dir: b.Mesh.Dir}.Socket().State()
		if err != nil || len(state.Peers) != 1 {
			t.Errorf("board %s has %d peers after all, %v", name, len(state.Peers), err)
		}
	}
}

// stream sends a line every 10 ms over one connection until the returned function
// is called, which tells how much was sent and how much arrived.
func (l *lan) stream(from, to, at string) func() (sent, got int) {
	l.t.Helper()
	dir := l.t.TempDir()
	server := exec.Command("nsenter", "--net="+to, "sh", "-c", "busybox nc -l -p 900 > "+dir+"/got")
	open, err := server.StdinPipe() // its end would end the connection
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.in(to, "until busybox netstat -tln | grep -q :900; do sleep 0.05; done")
	client := exec.Command("nsenter", "--net="+from, "sh", "-c", "while [ -e "+dir+"/go ]; do echo line; busybox usleep 10000; done | tee "+dir+"/sent | busybox nc "+at+" 900")
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		l.t.Fatal(err)
	}
	return func() (int, int) {
		os.Remove(dir + "/go")
		late := time.AfterFunc(30*time.Second, func() { client.Process.Kill(); server.Process.Kill() })
		defer late.Stop()
		defer open.Close()
		_ = server.Wait()
		_ = client.Wait()
		sent, _ := os.ReadFile(dir + "/sent")
		got, _ := os.ReadFile(dir + "/got")
		return len(sent), len(got)
	}
}

var pingStamp = regexp.MustCompile(`(?m)^\[(\d+\.\d+)\] \d+ bytes from`)

// longestGap is the longest time between two answers that ping -D printed.
func longestGap(t *testing.T, out string) (gap time.Duration) {
	t.Helper()
	last := 0.0
	for _, m := range pingStamp.FindAllStringSubmatch(out, -1) {
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if last != 0 {
			gap = max(gap, time.Duration((at-last)*1e9))
		}
		last = at
	}
	if gap == 0 {
		t.Fatalf("no answers in %s", out)
	}
	return gap
}

// TestEncryptedNetworksLeaveNothing: as they come and go, and when there is no
// more of them.
func TestEncryptedNetworksLeaveNothing(t *testing.T) {
	l := newMeshLAN(t, "b1", "b2")
	l.on("b1", 0)
	l.on("b2", 0)
	names := l.everywhere(nil)
	l.learn(names...)
	before := map[string]string{"b1": l.state("b1"), "b2": l.state("b2")}
	for i := range 6 {
		n := meshNetwork(uint32(i+1), "b1", "b2")
		from, to := l.on("b1", 1, n), l.on("b2", 1, n)
		for _, b := range l.boards {
			b.Fabric.Networks = append(b.Fabric.Networks, n)
		}
		l.learn(names...)
		l.in(l.nsOf("b1", from), fmt.Sprintf(quick, addr(to)))
	}
	pid := l.pid("b1")
	for _, b := range l.boards { // all but the last go
		b.Fabric.Networks, b.Fabric.Tasks = b.Fabric.Networks[5:], slices.Concat(b.Fabric.Tasks[:1], b.Fabric.Tasks[6:])
	}
	l.learn(names...)
	l.in(l.nsOf("b1", l.boards["b1"].Fabric.Tasks[1]), fmt.Sprintf(quick, addr(l.boards["b2"].Fabric.Tasks[1])))
	if out := l.in(l.boards["b1"].ns, "ip -4 -o addr show dev edgewg; ip -4 route show dev edgewg"); strings.Count(out, "\n") != 1 {
		t.Errorf("with one network left there are %s", out)
	}
	for _, b := range l.boards {
		b.Fabric.Tasks = b.Fabric.Tasks[:1]
	}
	l.everywhere(nil)
	l.learn(names...)
	for _, name := range names {
		if after := l.state(name); after != before[name] {
			t.Errorf("board %s had\n%s\nand has\n%s", name, before[name], after)
		}
		if _, err := os.Stat(l.boards[name].Mesh.Dir); !os.IsNotExist(err) {
			t.Errorf("board %s keeps %s: %v", name, l.boards[name].Mesh.Dir, err)
		}
	}
	if err := unix.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

// TestWhatAMeshNeeds is said in words where it lacks.
func TestWhatAMeshNeeds(t *testing.T) {
	program, err := wireguardProgram()
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]MeshConfig{
		"422 MiB of memory are too few": {KeyFile: filepath.Join(t.TempDir(), "key"), Program: program, Memory: 422 << 20},
		"is not installed":              {KeyFile: filepath.Join(t.TempDir(), "key"), Program: "/nowhere/edge-wireguard", Memory: 4 << 30},
		"no place for a key":            {},
		"":                              {KeyFile: filepath.Join(t.TempDir(), "key"), Program: program, Memory: 906 << 20},
	} {
		l := newLocal(t)
		l.mesh = newMesh(cfg, l.cfg.Logger)
		end := l.Mesh()
		if (end.Trouble == "") != (want == "") || !strings.Contains(end.Trouble, want) || (len(end.Keys) == 1) != (want == "") {
			t.Errorf("%+v: %+v, want %q", cfg, end, want)
		}
		if want == "" {
			continue
		}
		n := meshNetwork(1, "b1")
		task := webTask()
		task.Addresses = []api.NetworkAddr{{Network: n.ID, Addr: n.Gateway("b1").Next()}}
		l.Learn(agent.Fabric{Node: "b1", Networks: []*api.NetworkInfo{n}, Tasks: []*api.Task{task}})
		if _, err := l.Attach(t.Context(), task); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("attached with %v, want %q", err, want)
		}
	}
}
