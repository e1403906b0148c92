package wireguard

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

func ptr[T any](v T) *T { return &v }

func key(t *testing.T) Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// process is one that is ended, and its program's folder removed, with the test.
func process(t *testing.T) Process {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "edge-wireguard")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/edgeswarm/edgeswarm/cmd/edge-wireguard").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := Process{Program: program, Link: fmt.Sprintf("edgewgt%d", os.Getpid()%10000), Dir: filepath.Join(dir, "run"), Cgroup: fmt.Sprintf("/edgewgtest%d", os.Getpid())}
	t.Cleanup(func() {
		if err := p.End(context.Background()); err != nil {
			t.Error(err)
		}
		for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			if left, _ := filepath.Glob(pattern + p.Cgroup); left != nil {
				t.Errorf("control groups %v are left", left)
			}
		}
		if _, err := os.Stat(p.Dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", p.Dir, err)
		}
	})
	return p
}

// TestALinkTakesChanges, one of a process; the kernel's is held to the same in a
// board that has it.
func TestALinkTakesChanges(t *testing.T) {
	p := process(t)
	if pid, err := p.Find(); pid != 0 || err != nil {
		t.Fatalf("process %d, %v", pid, err)
	}
	pid, err := p.Start()
	if err != nil {
		t.Fatal(err)
	}
	if found, err := p.Find(); found != pid || err != nil {
		t.Errorf("found %d, %v; started %d", found, err, pid)
	}
	if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil || !strings.Contains(string(groups), ":"+p.Cgroup+"\n") {
		t.Errorf("it is in control groups %s (%v)", groups, err)
	}
	if limit, err := memoryLimit(p.Cgroup); err != nil || limit != fmt.Sprint(hardMemory) {
		t.Errorf("it may use %q (%v)", limit, err)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || !strings.Contains(string(env), "GOMEMLIMIT="+softMemory) {
		t.Errorf("it does not limit itself: %v", err)
	}
	takesChanges(t, p.Socket())
	if err := p.Socket().Apply(Change{Peers: []PeerChange{{Key: key(t).Public(), Endpoint: netip.AddrPort{}, Allowed: []netip.Prefix{{}}}}}); err == nil {
		t.Error("nonsense is taken")
	}
}

func memoryLimit(cgroup string) (string, error) {
	raw, err := os.ReadFile("/sys/fs/cgroup/memory" + cgroup + "/memory.limit_in_bytes")
	if os.IsNotExist(err) {
		raw, err = os.ReadFile("/sys/fs/cgroup" + cgroup + "/memory.max")
	}
	return strings.TrimSpace(string(raw)), err
}

func takesChanges(t *testing.T, link Link) {
	t.Helper()
	prefix := netip.MustParsePrefix
	own, a, b := key(t), key(t).Public(), key(t).Public()
	apply := func(c Change) State {
		t.Helper()
		if err := link.Apply(c); err != nil {
			t.Fatal(err)
		}
		s, err := link.State()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(s.Peers, func(x, y Peer) int { return strings.Compare(x.Key.String(), y.Key.String()) })
		for _, p := range s.Peers {
			slices.SortFunc(p.Allowed, func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
		}
		return s
	}
	find := func(s State, k Key) Peer {
		t.Helper()
		i := slices.IndexFunc(s.Peers, func(p Peer) bool { return p.Key == k })
		if i < 0 {
			t.Fatalf("no peer %v", k)
		}
		return s.Peers[i]
	}
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:51820"), netip.MustParseAddrPort("[2001:db8::1]:51821")
	s := apply(Change{Private: &own, Port: 51999, Peers: []PeerChange{
		{Key: a, Endpoint: v4, Keepalive: ptr(25 * time.Second), Allowed: []netip.Prefix{prefix("10.9.0.0/27"), prefix("10.9.1.0/27")}},
		{Key: b, Endpoint: v6},
	}})
	if s.Private != own || s.Port != 51999 || len(s.Peers) != 2 {
		t.Fatalf("%+v", s)
	}
	if p := find(s, a); p.Endpoint != v4 || p.Keepalive != 25*time.Second || !slices.Equal(p.Allowed, []netip.Prefix{prefix("10.9.0.0/27"), prefix("10.9.1.0/27")}) || !p.Shaken.IsZero() {
		t.Errorf("%+v", p)
	}
	if p := find(s, b); p.Endpoint != v6 || p.Keepalive != 0 || len(p.Allowed) != 0 {
		t.Errorf("%+v", p)
	}
	// What one peer spoke for goes to another; what is left out stays.
	s = apply(Change{Peers: []PeerChange{{Key: b, Allowed: []netip.Prefix{prefix("10.9.1.0/27")}}, {Key: a, Keepalive: new(time.Duration)}}})
	if p := find(s, a); p.Endpoint != v4 || p.Keepalive != 0 || !slices.Equal(p.Allowed, []netip.Prefix{prefix("10.9.0.0/27")}) || s.Private != own || s.Port != 51999 {
		t.Errorf("%+v", s)
	}
	s = apply(Change{Peers: []PeerChange{{Key: b, Replace: true, Allowed: []netip.Prefix{prefix("10.9.2.0/27")}}, {Key: a, Remove: true}}})
	if p := find(s, b); len(s.Peers) != 1 || !slices.Equal(p.Allowed, []netip.Prefix{prefix("10.9.2.0/27")}) {
		t.Errorf("%+v", s)
	}
	// Many peers, with many blocks each: more than one message of the kernel's holds.
	var many Change
	for i := range 300 {
		c := PeerChange{Key: key(t).Public(), Endpoint: v4}
		for j := range 20 {
			c.Allowed = append(c.Allowed, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 4), byte(i<<4 + j), 0}), 27))
		}
		many.Peers = append(many.Peers, c)
	}
	if s = apply(many); len(s.Peers) != 301 {
		t.Errorf("%d peers of 301", len(s.Peers))
	}
	next := key(t)
	if s = apply(Change{Private: &next}); s.Private != next || len(s.Peers) != 301 {
		t.Errorf("after another key there are %d peers", len(s.Peers))
	}
}

// TestWhatTheKernelSays is read as it is laid out in linux/wireguard.h, and what
// is cut off is an error.
func TestWhatTheKernelSays(t *testing.T) {
	k, at := key(t).Public(), netip.MustParseAddrPort("192.0.2.1:51820")
	p := PeerChange{Key: k, Endpoint: at, Keepalive: ptr(25 * time.Second), Allowed: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/27"), netip.MustParsePrefix("fd00::/64")}}
	const peers = 8
	list := nl.NewRtAttr(peers, nil)
	list.AddChild(p.attr())
	raw := list.Serialize()
	var s State
	if err := s.read(raw); err != nil {
		t.Fatal(err)
	}
	if err := s.read(raw); err != nil { // the same peer goes on in the next part
		t.Fatal(err)
	}
	if len(s.Peers) != 1 || s.Peers[0].Key != k || s.Peers[0].Endpoint != at || s.Peers[0].Keepalive != 25*time.Second || len(s.Peers[0].Allowed) != 4 || s.Peers[0].Allowed[1] != p.Allowed[1] {
		t.Errorf("%+v", s)
	}
	if got := endpointOf(sockaddr(netip.MustParseAddrPort("[2001:db8::1]:51821"))); got.String() != "[2001:db8::1]:51821" {
		t.Errorf("endpoint %v", got)
	}
	for n := range raw {
		cut := slices.Clone(raw[:n])
		if err := (&State{}).read(cut); err == nil && n > 4 {
			t.Errorf("%d bytes of %d are read", n, len(raw))
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	p := process(t)
	if _, err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Start(); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a second one: %v", err)
	}
	other := p
	other.Dir += "-other"
	t.Cleanup(func() { os.RemoveAll(other.Dir) })
	if _, err := other.Start(); err == nil || !strings.Contains(err.Error(), "make link") {
		t.Errorf("a second one for the same link: %v", err)
	}
	pid, err := p.Find()
	if err != nil || pid == 0 {
		t.Fatalf("the first one: %d, %v", pid, err)
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := host.ProcessBegan(pid); err == nil {
		t.Errorf("process %d has not ended", pid)
	}
}
