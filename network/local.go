package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// Config of a board's network.
type Config struct {
	// Dir holds a folder for each attached task; it must not outlive a reboot.
	Dir string
	// Pool is where the bridge's /20 is taken from: the first that collides
	// with no route of the board. Zero is DefaultPool.
	Pool   netip.Prefix
	Logger *slog.Logger
}

// DefaultPool holds 16 candidates for a board's own subnet.
var DefaultPool = netip.MustParsePrefix("10.210.0.0/16")

// subnetBits is the size of a board's subnet: 4,093 tasks.
const subnetBits = 20

// Local attaches tasks to the board's own bridge. It implements agent.Network.
type Local struct {
	cfg Config

	mu     sync.Mutex // kernel state is changed by one attachment at a time
	subnet netip.Prefix
}

var _ agent.Network = (*Local)(nil)

// New prepares a Local; nothing is made before the first Attach.
func New(cfg Config) *Local {
	if !cfg.Pool.IsValid() {
		cfg.Pool = DefaultPool
	}
	return &Local{cfg: cfg}
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
		return at, l.writeNames(task, at)
	}
	if err := l.ensureBridge(); err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	addr, err := l.address(dir)
	if err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	at.NetNS, at.Addr = filepath.Join(dir, nsFile), addr.String()
	if err := host.NewNetNS(at.NetNS); err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	if err := l.plug(task.ID, at.NetNS, addr); err != nil {
		return agent.Attachment{}, fmt.Errorf("attach task: %w", err)
	}
	if err := publish(task, addr); err != nil {
		return agent.Attachment{}, err
	}
	return at, l.writeNames(task, at)
}

// Detach takes a task's ports, links, namespace and files away.
func (l *Local) Detach(ctx context.Context, task api.TaskID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.detach(task)
}

func (l *Local) detach(task api.TaskID) error {
	dir := l.taskDir(task)
	err := errors.Join(unpublish(task), unplug(task), host.RemoveNetNS(filepath.Join(dir, nsFile)))
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
	noted := filepath.Join(dir, addrFile)
	if raw, err := os.ReadFile(noted); err == nil {
		if addr, err := netip.ParseAddr(string(raw)); err == nil && l.subnet.Contains(addr) {
			return addr, nil
		}
	}
	taken, err := l.takenAddresses()
	if err != nil {
		return netip.Addr{}, err
	}
	for addr := bridgeAddr(l.subnet).Next(); l.subnet.Contains(addr.Next()); addr = addr.Next() { // the last is the broadcast address
		if !taken[addr] {
			return addr, host.WriteFile(noted, []byte(addr.String()), 0o644)
		}
	}
	return netip.Addr{}, api.Errorf(api.Unavailable, "", "no free address in %s: remove tasks from this board", l.subnet)
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
