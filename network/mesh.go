package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

// MeshConfig is of a board's end of encrypted networks.
type MeshConfig struct {
	// KeyFile keeps the board's private key; "" and the board has no such networks.
	KeyFile string
	// Port is the one UDP port of all of them; 0 is DefaultMeshPort.
	Port uint16
	// Program is the path of edge-wireguard, for boards whose kernel has no
	// WireGuard; Dir is where its socket is, and a reboot empties it; Cgroup
	// where it runs.
	Program, Dir, Cgroup string
	// Memory of the board, in bytes; 0 is not known.
	Memory int64
}

// DefaultMeshPort is the one that WireGuard is known by.
const DefaultMeshPort = 51820

// meshLink is the one link of all encrypted networks.
const meshLink = "edgewg"

// keepalive keeps the way to a board open through address translations, which
// forget it after 30 s at the least.
const keepalive = 25 * time.Second

// mesh carries all networks in one WireGuard link: the kernel's, else that of a
// process. A peer may send from its blocks and from nowhere else, which WireGuard
// sees to; that a packet stays in its network, isolation does.
type mesh struct {
	cfg  MeshConfig
	log  *slog.Logger
	keys keyring
	path meshPath
	proc wireguard.Process

	bearings map[api.NodeID]*bearing
	reached  bool // every peer was heard of lately
	turning  bool // some peer's keys are

	pid   int       // of the process, as found last
	began time.Time // when it was started here
	pause time.Duration
}

// meshPath is how a board carries encrypted networks.
type meshPath struct {
	known   bool
	kernel  bool
	trouble error // why it can't
}

var _ driver = (*mesh)(nil)

func newMesh(cfg MeshConfig, log *slog.Logger) *mesh {
	if cfg.Port == 0 {
		cfg.Port = DefaultMeshPort
	}
	return &mesh{
		cfg: cfg, log: log, keys: keyring{file: cfg.KeyFile}, bearings: map[api.NodeID]*bearing{}, reached: true,
		proc: wireguard.Process{Program: cfg.Program, Link: meshLink, Dir: cfg.Dir, Cgroup: cfg.Cgroup},
	}
}

// ready finds out, once, by which path this board carries encrypted networks, and
// opens its keys.
func (m *mesh) ready() error {
	if !m.path.known {
		m.path = meshPath{known: true}
		m.path.kernel, m.path.trouble = choosePath(m.cfg)
	}
	if m.path.trouble != nil {
		return m.path.trouble
	}
	return m.keys.open()
}

func choosePath(cfg MeshConfig) (kernel bool, err error) {
	switch {
	case cfg.KeyFile == "":
		return false, errors.New("this board has no place for a key")
	case host.KernelWireGuard() == host.Yes:
		return true, nil
	case host.TUN() != host.Yes:
		return false, errors.New("its kernel has neither WireGuard nor TUN")
	case cfg.Memory != 0 && cfg.Memory < host.WireGuardMemory:
		return false, fmt.Errorf("its kernel has no WireGuard, and %d MiB of memory are too few for one outside of it", cfg.Memory>>20)
	case !host.IsProgram(cfg.Program):
		return false, fmt.Errorf("its kernel has no WireGuard, and %s, which is one outside of it, is not installed", cfg.Program)
	default:
		return false, nil
	}
}

// end is what the board says of itself.
func (m *mesh) end() api.MeshEnd {
	if err := m.ready(); err != nil {
		return api.MeshEnd{Trouble: err.Error()}
	}
	return api.MeshEnd{Keys: m.keys.public(), Port: m.cfg.Port}
}

// weave implements driver.
func (m *mesh) weave(w weaving, networks []*api.NetworkInfo) (woven []*api.NetworkInfo, err error) {
	if len(networks) == 0 {
		if m.path.known && m.path.trouble == nil {
			_, err = m.keys.step(w.now, w.fabric, true)
		}
		return nil, err
	}
	if err := m.ready(); err != nil {
		return nil, fmt.Errorf("this board can't carry encrypted networks: %w", err)
	}
	link, wg, err := m.ensureLink()
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", meshLink, err)
	}
	if err := m.furnish(link, w, networks); err != nil {
		return nil, err
	}
	if err := m.steer(wg, w, networks); err != nil {
		return nil, err
	}
	return networks, nil
}

// ensureLink makes the link, or finds it.
func (m *mesh) ensureLink() (netlink.Link, wireguard.Link, error) {
	link, err := netlink.LinkByName(meshLink)
	if err != nil && !isNotFound(err) {
		return nil, nil, err
	}
	missing := err != nil
	if missing {
		if err := listens(api.UDP, ":"+strconv.Itoa(int(m.cfg.Port))); err != nil {
			return nil, nil, api.Errorf(api.Conflict, "", "port %d/udp of this board is in use by another program: stop it, or give edged another with --mesh-port (%w)", m.cfg.Port, err)
		}
	}
	if m.path.kernel {
		if missing {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = meshLink
			link = &netlink.Wireguard{LinkAttrs: attrs}
			err = netlink.LinkAdd(link)
		}
		return link, wireguard.Kernel{Name: meshLink}, err
	}
	if err := m.ensureProcess(missing); err != nil {
		return nil, nil, err
	}
	link, err = netlink.LinkByName(meshLink)
	return link, m.proc.Socket(), err
}

// longestPause is the longest before a process that ends over and over is started
// again; one that has lived for settledAfter may end at once again.
const (
	longestPause = 30 * time.Second
	settledAfter = time.Minute
)

// ensureProcess finds the process, or starts it. One that was found the first
// time and whose program was replaced since, as by an upgrade, is another version's.
func (m *mesh) ensureProcess(linkMissing bool) error {
	pid, err := m.proc.Find()
	if err != nil {
		return err
	}
	if pid != 0 && (linkMissing || m.pid == 0 && host.ProgramReplaced(pid)) {
		m.log.Info("wireguard process is replaced", "pid", pid)
		if err := m.proc.End(context.Background()); err != nil { // it takes seconds at most
			return err
		}
		pid = 0
	}
	if pid != 0 {
		if m.pid == 0 {
			m.log.Info("wireguard process taken over", "pid", pid)
		}
		m.pid = pid
		return nil
	}
	if m.pid != 0 { // there was one
		if time.Since(m.began) > settledAfter {
			m.pause = 0
		}
		if wait := m.pause - time.Since(m.began); wait > 0 {
			return fmt.Errorf("the WireGuard process %s ended; it is started again in %v", m.cfg.Program, wait.Round(time.Second))
		}
		m.pause = min(max(2*m.pause, time.Second), longestPause)
	}
	m.began = time.Now()
	if m.pid, err = m.proc.Start(); err != nil {
		m.pid = -1
		return err
	}
	m.log.Info("wireguard process started, as the kernel has none", "pid", m.pid)
	return nil
}

// furnish gives the link its size, the board's addresses and the ways to the
// peers' blocks.
func (m *mesh) furnish(link netlink.Link, w weaving, networks []*api.NetworkInfo) error {
	if mtu := m.mtu(w); link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("size of %s: %w", meshLink, err)
		}
	}
	var own []netip.Addr
	ways := map[netip.Prefix]way{}
	for _, n := range networks {
		gateway := n.Gateway(w.self)
		own = append(own, gateway)
		for _, b := range n.Blocks {
			if b.Node != "" && b.Node != w.self && w.speaks(b.Node) {
				ways[b.Prefix] = way{source: gateway}
			}
		}
	}
	if err := ensureAddrs(link, own); err != nil {
		return fmt.Errorf("addresses of %s: %w", meshLink, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", meshLink, err)
	}
	if err := ensureRoutes(link, ways); err != nil {
		return fmt.Errorf("routes of %s: %w", meshLink, err)
	}
	return nil
}

// steer turns the board's keys where that is due, and tells the link whom to
// speak with.
func (m *mesh) steer(link wireguard.Link, w weaving, networks []*api.NetworkInfo) error {
	turned, err := m.keys.step(w.now, w.fabric, m.reached)
	if turned {
		m.log.Info("key of encrypted networks was turned")
	}
	state, stateErr := link.State()
	if err := errors.Join(err, stateErr); err != nil {
		return err
	}
	if state.Private != m.keys.keys.Key {
		if err := m.introduce(link, state); err != nil {
			return err
		}
	}
	change := m.plan(w, networks, state)
	if state.Port != m.cfg.Port {
		change.Port = m.cfg.Port
	}
	if change.Port == 0 && len(change.Peers) == 0 {
		return nil
	}
	return link.Apply(change)
}

// introduce sets the board's key. Peers hear of a new one at once, by a keepalive
// each, which is sent as it is turned on.
func (m *mesh) introduce(link wireguard.Link, state wireguard.State) error {
	off, on := wireguard.Change{Private: &m.keys.keys.Key}, wireguard.Change{}
	for _, p := range state.Peers {
		off.Peers = append(off.Peers, wireguard.PeerChange{Key: p.Key, Keepalive: new(time.Duration)})
		on.Peers = append(on.Peers, wireguard.PeerChange{Key: p.Key, Keepalive: ptr(keepalive)})
	}
	if err := link.Apply(off); err != nil || len(on.Peers) == 0 {
		return err
	}
	return link.Apply(on)
}

// plan is what to change of the link's peers.
func (m *mesh) plan(w weaving, networks []*api.NetworkInfo, state wireguard.State) (change wireguard.Change) {
	have := map[wireguard.Key]*wireguard.Peer{}
	for i, p := range state.Peers {
		have[p.Key] = &state.Peers[i]
	}
	m.reached, m.turning = true, m.keys.turning()
	kept := map[api.NodeID]*bearing{}
	for _, s := range w.speakers(networks) {
		keys := s.keys
		live := keys[0]
		if len(keys) > 1 {
			m.turning = true
			if next := have[keys[1]]; next != nil && !next.Shaken.IsZero() {
				live = keys[1] // it speaks with its next key already
			}
		}
		b := m.bearings[s.node]
		if b == nil {
			b = &bearing{}
		}
		kept[s.node] = b
		to := b.steer(w.now, s.ways, have[live])
		m.reached = m.reached && !b.silent(w.now)
		for _, key := range keys {
			p := wireguard.PeerChange{Key: key, Endpoint: to}
			if have[key] == nil && have[live] != nil && !to.IsValid() {
				p.Endpoint = have[live].Endpoint
			}
			if key == live {
				p.Allowed, p.Keepalive = s.blocks, ptr(keepalive)
			} else {
				p.Keepalive = new(time.Duration)
			}
			if p, differs := against(p, have[key]); differs {
				change.Peers = append(change.Peers, p)
			}
			delete(have, key)
		}
	}
	for key := range have {
		change.Peers = append(change.Peers, wireguard.PeerChange{Key: key, Remove: true})
	}
	m.bearings = kept
	return change
}

// against leaves of what a peer is to be what it is not, and tells if that is
// anything.
func against(p wireguard.PeerChange, have *wireguard.Peer) (change wireguard.PeerChange, differs bool) {
	slices.SortFunc(p.Allowed, comparePrefixes)
	p.Replace = true
	if have == nil {
		return p, true
	}
	if *p.Keepalive == have.Keepalive {
		p.Keepalive = nil
	}
	slices.SortFunc(have.Allowed, comparePrefixes)
	// What it may speak for already is not taken from it for a moment in between.
	if !slices.ContainsFunc(have.Allowed, func(b netip.Prefix) bool { return !slices.Contains(p.Allowed, b) }) {
		p.Replace = false
		p.Allowed = slices.DeleteFunc(slices.Clone(p.Allowed), func(b netip.Prefix) bool { return slices.Contains(have.Allowed, b) })
	}
	return p, p.Replace || len(p.Allowed) > 0 || p.Keepalive != nil || p.Endpoint.IsValid()
}

// mtu implements driver.
func (m *mesh) mtu(w weaving) int { return w.mtu() - wireguard.Headroom }

// cut implements driver.
func (m *mesh) cut(keep []*api.NetworkInfo) error {
	if len(keep) > 0 || m.cfg.KeyFile == "" {
		return nil
	}
	clear(m.bearings)
	m.reached, m.turning = true, m.keys.turning()
	link, err := netlink.LinkByName(meshLink)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("look for %s: %w", meshLink, err)
	}
	if err == nil && link.Type() == "wireguard" {
		if err := netlink.LinkDel(link); err != nil && !isNotFound(err) {
			return fmt.Errorf("remove link %s: %w", meshLink, err)
		}
	}
	if m.pid == 0 && isNotFound(err) {
		return nil // there is none, and there was none
	}
	if err := m.proc.End(context.Background()); err != nil { // it takes seconds at most
		return err
	}
	m.pid, m.pause = 0, 0
	return nil
}

// speaker is a peer as the mesh is to have it.
type speaker struct {
	node   api.NodeID
	keys   []wireguard.Key
	blocks []netip.Prefix
	ways   []netip.AddrPort
}

// speakers are the peers with blocks of the networks and keys to speak with, in
// order of ID.
func (w weaving) speakers(networks []*api.NetworkInfo) (all []speaker) {
	blocks := map[api.NodeID][]netip.Prefix{}
	for _, n := range networks {
		for _, b := range n.Blocks {
			blocks[b.Node] = append(blocks[b.Node], b.Prefix)
		}
	}
	for _, p := range w.fabric.Peers {
		if len(blocks[p.ID]) == 0 || !w.speaks(p.ID) {
			continue
		}
		s := speaker{node: p.ID, keys: keysOf(p), blocks: blocks[p.ID]}
		for _, addr := range w.ways[p.ID] {
			s.ways = append(s.ways, netip.AddrPortFrom(addr, p.Mesh.Port))
		}
		all = append(all, s)
	}
	return all
}

// speaks reports whether a peer has told of a key.
func (w weaving) speaks(node api.NodeID) bool {
	i := slices.IndexFunc(w.fabric.Peers, func(p api.Peer) bool { return p.ID == node })
	return i >= 0 && len(keysOf(w.fabric.Peers[i])) > 0
}

func keysOf(p api.Peer) (keys []wireguard.Key) {
	if p.Mesh == nil {
		return nil
	}
	for _, raw := range p.Mesh.Keys {
		var key wireguard.Key
		if copy(key[:], raw) == len(raw) && len(raw) == len(key) {
			keys = append(keys, key)
		}
	}
	return keys[:min(2, len(keys))]
}

func ptr[T any](v T) *T { return &v }
