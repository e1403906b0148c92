package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network/dns"
)

// Config of a board's network.
type Config struct {
	// Dir holds a folder for each attached task; it must not outlive a reboot.
	Dir string
	// Pool is where the bridge's /20 is taken from: the first that collides
	// with no route of the board. Zero is DefaultPool.
	Pool netip.Prefix
	// Resolvers are the files that list the board's own resolvers: of the first
	// that names one that others than the board itself can reach, all count. Nil
	// is the system's.
	Resolvers []string
	// Mesh is of encrypted networks.
	Mesh   MeshConfig
	Logger *slog.Logger
}

// DefaultPool holds 16 candidates for a board's own subnet.
var DefaultPool = netip.MustParsePrefix("10.210.0.0/16")

// subnetBits is the size of a board's subnet: 4,093 tasks.
const subnetBits = 20

// Local attaches tasks to the board's own bridge, and to networks that span
// boards, which it makes and mends while it runs. It implements agent.Network.
type Local struct {
	cfg     Config
	names   *dns.Server
	fabric  atomic.Pointer[agent.Fabric] // as learned last; nil before
	learned chan struct{}                // 1 slot

	mu     sync.Mutex // kernel state is changed by one at a time
	subnet netip.Prefix
	vxlan  vxlan
	mesh   *mesh
	rules  ruleState
	// trouble is what could not be made so, at the last try.
	trouble string
}

var _ agent.Network = (*Local)(nil)

// New prepares a Local; nothing is made before the first Attach or Run.
func New(cfg Config) *Local {
	if !cfg.Pool.IsValid() {
		cfg.Pool = DefaultPool
	}
	if cfg.Resolvers == nil {
		cfg.Resolvers = resolvConfs
	}
	return &Local{
		cfg: cfg, learned: make(chan struct{}, 1), mesh: newMesh(cfg.Mesh, cfg.Logger),
		names: dns.New(dns.Config{Resolvers: func() ([]string, error) { return resolversOf(cfg.Resolvers) }, Logger: cfg.Logger}),
	}
}

// self is this board's node ID, "" before it is known.
func (l *Local) self() api.NodeID {
	if f := l.fabric.Load(); f != nil {
		return f.Node
	}
	return ""
}

// Files in a task's folder.
const (
	nsFile     = "netns"
	addrFile   = "address"
	resolvFile = "resolv.conf"
	hostsFile  = "hosts"
	nameFile   = "hostname"
)

// Attach makes a task's namespace, address, names and published ports, or
// completes what is there. A port that another program of the board listens on
// is an api.Conflict that names it.
func (l *Local) Attach(ctx context.Context, task *api.Task) (agent.Attachment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir := l.taskDir(task.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	at := agent.Attachment{
		ResolvConf: filepath.Join(dir, resolvFile), Hosts: filepath.Join(dir, hostsFile), HostnameFile: filepath.Join(dir, nameFile),
	}
	if usesHost(task) {
		return at, l.writeNames(task, at, netip.Addr{})
	}
	networks, err := l.networksOf(task)
	if err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	at.NetNS = filepath.Join(dir, nsFile)
	if err := host.NewNetNS(at.NetNS); err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	var resolver netip.Addr
	first := 0 // number of the first link to a network
	if hasWayOut(networks) {
		if err := l.attachBridge(task, dir, &at); err != nil {
			return agent.Attachment{}, err
		}
		first = 1
	}
	for i, n := range networks {
		addr := task.Addresses[i].Addr
		if err := l.wire(task.ID, at.NetNS, i, fmt.Sprintf("eth%d", first+i), addr, n); err != nil {
			return agent.Attachment{}, fmt.Errorf("attach task to network %s: %w", n.Name, err)
		}
		if i == 0 {
			resolver = n.Gateway(l.self())
		}
		if at.Addr == "" {
			at.Addr = addr.String()
		}
	}
	return at, l.writeNames(task, at, resolver)
}

// attachBridge gives a task the board's bridge: its way out, and its ports.
func (l *Local) attachBridge(task *api.Task, dir string, at *agent.Attachment) error {
	if err := l.ensureBridge(); err != nil {
		return fmt.Errorf("attach task: %w", err)
	}
	addr, err := l.address(dir)
	if err != nil {
		return fmt.Errorf("attach task: %w", err)
	}
	at.Addr = addr.String()
	if err := l.plug(task.ID, at.NetNS, addr); err != nil {
		return fmt.Errorf("attach task: %w", err)
	}
	return publish(task, addr)
}

// networksOf finds the networks that a task has addresses in, made on this
// board. One that the board has not been told of yet is Unavailable.
func (l *Local) networksOf(task *api.Task) ([]*api.NetworkInfo, error) {
	var all []*api.NetworkInfo
	for _, at := range task.Addresses {
		f := l.fabric.Load()
		var n *api.NetworkInfo
		if f != nil {
			if i := slices.IndexFunc(f.Networks, func(n *api.NetworkInfo) bool { return n.ID == at.Network }); i >= 0 {
				n = f.Networks[i]
			}
		}
		if n == nil || !n.Gateway(f.Node).IsValid() {
			return nil, api.Errorf(api.Unavailable, "", "network %s is not known to this board yet", api.ShortID(at.Network))
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, nil
	}
	// Encrypted networks share a link, which is made as a whole.
	f, want := l.fabric.Load(), all
	if len(of(api.DriverMesh, all)) > 0 {
		want = slices.Concat(of(api.DriverVXLAN, all), of(api.DriverMesh, f.Networks))
	}
	woven, err := l.weave(newWeaving(f), want)
	for _, n := range all {
		if !slices.Contains(woven, n) {
			return nil, cmp.Or(err, error(api.Errorf(api.Unavailable, "", "network %s is not made on this board yet", n.Name)))
		}
	}
	return all, nil
}

// hasWayOut reports whether a task of these networks reaches what is outside.
func hasWayOut(networks []*api.NetworkInfo) bool {
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n *api.NetworkInfo) bool { return !n.Internal })
}

// Detach takes a task's ports, links, namespace and files away.
func (l *Local) Detach(ctx context.Context, task api.TaskID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.detach(task)
}

func (l *Local) detach(task api.TaskID) error {
	dir := l.taskDir(task)
	err := errors.Join(unpublish(task), unplug(task), unwire(task), host.RemoveNetNS(filepath.Join(dir, nsFile)))
	if err != nil {
		return fmt.Errorf("detach task: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("detach task: %w", err)
	}
	return nil
}

// Retain detaches every task that is not named.
func (l *Local) Retain(ctx context.Context, tasks []api.TaskID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := make(map[api.TaskID]bool, len(tasks))
	for _, id := range tasks {
		keep[id] = true
	}
	attached, err := l.attached()
	if err != nil {
		return err
	}
	for _, id := range attached {
		if !keep[id] {
			err = errors.Join(err, l.detach(id))
		}
	}
	return err
}

func (l *Local) taskDir(task api.TaskID) string { return filepath.Join(l.cfg.Dir, string(task)) }

// attached lists the tasks that have a folder.
func (l *Local) attached() ([]api.TaskID, error) {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list attached tasks: %w", err)
	}
	var ids []api.TaskID
	for _, e := range entries {
		ids = append(ids, api.TaskID(e.Name()))
	}
	return ids, nil
}

// address answers the task's address: the one noted in its folder, else the
// lowest that no other task has.
func (l *Local) address(dir string) (netip.Addr, error) {
	if addr, ok := l.notedAddress(dir); ok && l.subnet.Contains(addr) {
		return addr, nil
	}
	taken, err := l.takenAddresses()
	if err != nil {
		return netip.Addr{}, err
	}
	for addr := bridgeAddr(l.subnet).Next(); l.subnet.Contains(addr.Next()); addr = addr.Next() { // the last is the broadcast address
		if !taken[addr] {
			return addr, host.WriteFile(filepath.Join(dir, addrFile), []byte(addr.String()), 0o644)
		}
	}
	return netip.Addr{}, api.Errorf(api.Unavailable, "", "no free address in %s: remove tasks from this board", l.subnet)
}

// notedAddress is the one in a task's folder, if it has one.
func (l *Local) notedAddress(dir string) (netip.Addr, bool) {
	raw, err := os.ReadFile(filepath.Join(dir, addrFile))
	if err != nil {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(string(raw))
	return addr, err == nil
}

func (l *Local) takenAddresses() (map[netip.Addr]bool, error) {
	ids, err := l.attached()
	if err != nil {
		return nil, err
	}
	taken := make(map[netip.Addr]bool, len(ids))
	for _, id := range ids {
		raw, err := os.ReadFile(filepath.Join(l.taskDir(id), addrFile))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read task's address: %w", err)
		}
		if addr, err := netip.ParseAddr(string(raw)); err == nil {
			taken[addr] = true
		}
	}
	return taken, nil
}

func usesHost(task *api.Task) bool {
	for _, n := range task.Spec.Networks {
		if n.Target == api.NetworkHost {
			return true
		}
	}
	return false
}
