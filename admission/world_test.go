package admission

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	lan "github.com/edgeswarm/edgeswarm/discovery/mem"
	"github.com/edgeswarm/edgeswarm/discovery/static"
	"github.com/edgeswarm/edgeswarm/identity"
	wire "github.com/edgeswarm/edgeswarm/transport/mem"
	"github.com/edgeswarm/edgeswarm/transport/quic"
)

// world is a LAN with boards: real QUIC over an in-memory network, discovery
// in memory, and one authority for each fleet where there would be raft. It
// lives in a synctest bubble.
type world struct {
	t    *testing.T
	dir  string
	rng  *rand.Rand
	net  *wire.Network
	lan  *lan.LAN
	key  identity.FleetKey
	next byte

	mu     sync.Mutex
	fleets map[api.FleetID]*authority
	groups map[netip.Addr]int
}

// authority stands in for a fleet's replicated state: its leader's word.
type authority struct {
	mu      sync.Mutex
	cluster *api.Cluster
	ca      identity.CA
	leader  *board
	members map[api.NodeID]bool
	vouched []*api.AdmitRequest
}

// built is when the program was built; a bubble begins a day later.
var built = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, seed uint64) *world {
	dir, err := os.MkdirTemp(memoryDir(), "admission")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &world{
		t: t, dir: dir, rng: rand.New(rand.NewPCG(seed, 1)), net: wire.New(seed), lan: lan.NewLAN(seed),
		key: identity.GenerateFleetKey(), fleets: make(map[api.FleetID]*authority),
	}
}

// memoryDir is where syncing a file costs nothing, if there is such a place.
func memoryDir() string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		return "/dev/shm"
	}
	return ""
}

func (w *world) faults(loss float64, delay, jitter time.Duration) {
	w.net.SetFaults(wire.Faults{Loss: loss, Delay: delay, Jitter: jitter})
	w.lan.SetLoss(loss)
	w.lan.SetDelay(delay, delay+jitter)
}

func (w *world) partition(groups ...[]*board) {
	addrs := make([][]netip.Addr, len(groups))
	w.mu.Lock()
	w.groups = make(map[netip.Addr]int)
	for i, g := range groups {
		for _, b := range g {
			addrs[i] = append(addrs[i], b.addr.Addr())
			w.groups[b.addr.Addr()] = i + 1
		}
	}
	w.mu.Unlock()
	w.net.Partition(addrs...)
	w.lan.Partition(addrs...)
}

func (w *world) heal() {
	w.mu.Lock()
	w.groups = nil
	w.mu.Unlock()
	w.net.Heal()
	w.lan.Heal()
}

func (w *world) connected(a, b *board) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.groups[a.addr.Addr()] == w.groups[b.addr.Addr()]
}

func (w *world) authority(id api.FleetID) *authority {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fleets[id]
}

// foundings counts the fleets that were ever founded.
func (w *world) foundings() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fleets)
}

func (a *authority) read() api.Cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *a.cluster
}

func (a *authority) write() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cluster.FoldedInto != "" {
		return api.Errorf(api.Conflict, "write", "this fleet has given way")
	}
	a.cluster.Touched = true
	return nil
}

func (a *authority) fold(_ context.Context, into api.FleetID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cluster.Touched {
		return api.Errorf(api.Conflict, "fold", "a user has written")
	}
	a.cluster.FoldedInto = into
	return nil
}

func (a *authority) admit(r *api.AdmitRequest, now time.Time) (*api.AdmitResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.cluster.FoldedInto != "":
		return nil, api.Errorf(api.Conflict, "admit", "this fleet has given way")
	case r.Renewal && !a.members[r.Node]:
		return nil, api.Errorf(api.NotFound, "admit", "node %s was removed", r.Node)
	}
	creds, err := a.ca.Sign(r.CSR, r.Node, now, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	a.members[r.Node] = true
	a.vouched = append(a.vouched, r)
	c := a.cluster
	return &api.AdmitResponse{
		Credentials: creds,
		Fleet:       api.FleetInfo{ID: c.ID, RootCAPEM: c.RootCA.CertPEM, FoundedAt: c.FoundedAt, Touched: c.Touched, Role: r.Role},
		Peers:       []api.Peer{{ID: a.leader.keeper.Node(), Addrs: []netip.AddrPort{a.leader.addr}, Manager: true}},
	}, nil
}

// board is one board, through as many lives as the test gives it.
type board struct {
	w     *world
	name  int
	addr  netip.AddrPort
	key   identity.FleetKey
	token identity.Token
	// clock is how far the board's clock is off.
	clock    time.Duration
	keeper   *identity.Keeper
	memory   *Memory
	endpoint *quic.Endpoint
	finder   discovery.Finder
	peers    []string // given addresses, instead of multicast
	seeker   atomic.Pointer[Seeker]
	door     *Door
	stop     func()

	mu     sync.Mutex
	fleet  *authority
	rivals []api.FleetID
	told   []string
}

func (w *world) board() *board {
	w.next++
	b := &board{w: w, name: int(w.next), key: w.key, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, w.next}), 2377)}
	dir := fmt.Sprintf("%s/%d", w.dir, b.name)
	var err error
	if b.keeper, err = identity.Open(identity.Config{Dir: dir, Now: b.now}); err != nil {
		w.t.Fatal(err)
	}
	if b.memory, err = OpenMemory(dir); err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (b *board) now() time.Time { return time.Now().Add(b.clock) }

// power turns the board on; stop, or the end of the test's context, turns it off.
func (b *board) power(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	b.connect()
	b.finder = b.w.lan.Join(b.addr.Addr())
	if b.peers != nil {
		var err error
		if b.finder, err = static.New(static.Config{Addrs: b.peers}); err != nil {
			b.w.t.Error(err)
		}
	}
	door := NewDoor(DoorConfig{Identity: b.keeper, Endpoint: b.endpoint, Fleet: b, Seeker: b.seeker.Load, Now: b.now})
	b.door = door
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.finder.Run(ctx) })
	wg.Go(func() {
		if err := door.Run(ctx); err != nil {
			b.w.t.Error(err)
		}
	})
	wg.Go(func() { b.live(ctx) })
	b.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		_ = b.endpoint.Close()
	})
}

// connect opens the board's port, and nothing behind it.
func (b *board) connect() {
	host, err := b.w.net.Host(b.addr)
	if err != nil {
		b.w.t.Error(err)
		return
	}
	if b.endpoint, err = quic.New(quic.Config{PacketConn: host, Identity: b.keeper}); err != nil {
		b.w.t.Error(err)
	}
}

func (b *board) client() *Client {
	return NewClient(ClientConfig{
		Identity: b.keeper, Endpoint: b.endpoint, Key: b.key, Token: b.token,
		Veteran: b.memory.Read().Veteran, Fleet: b.keeper.Fleet(),
		Describe: func() (api.NodeDescription, []netip.AddrPort) {
			return api.NodeDescription{Hostname: fmt.Sprintf("board%d", b.name)}, []netip.AddrPort{b.addr}
		},
	})
}

// live is what a node does with its membership.
func (b *board) live(ctx context.Context) {
	for ctx.Err() == nil {
		if fleet := b.keeper.Fleet(); fleet != "" {
			b.set(b.w.authority(fleet))
			b.belong(ctx)
			continue
		}
		b.announce()
		s := NewSeeker(SeekerConfig{Client: b.client(), Finder: b.finder, Memory: b.memory.Read(), Tell: b.tell})
		b.seeker.Store(s)
		outcome, err := s.Run(ctx)
		switch {
		case err != nil:
			return
		case outcome.Found:
			b.found()
		default:
			b.join(outcome.Joined)
		}
	}
}

func (b *board) tell(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, line)
}

func (b *board) lastTold() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) == 0 {
		return ""
	}
	return b.told[len(b.told)-1]
}

func (b *board) found() {
	f, err := Found(FoundConfig{Identity: b.keeper, Key: b.key, Now: b.now(), Built: built, Addrs: []netip.AddrPort{b.addr}})
	if err != nil {
		b.w.t.Error(err)
		return
	}
	ca, err := identity.LoadCA(f.Cluster.RootCA)
	if err != nil {
		b.w.t.Error(err)
		return
	}
	if b.memory.Read().Veteran {
		b.w.t.Errorf("board %d was a member before and founds a fleet", b.name)
	}
	a := &authority{cluster: f.Cluster, ca: ca, leader: b, members: map[api.NodeID]bool{b.keeper.Node(): true}}
	b.w.mu.Lock()
	b.w.fleets[f.Cluster.ID] = a
	b.w.mu.Unlock()
	b.adopt(f.Credentials, f.Cluster.ID, nil)
}

func (b *board) join(r *api.AdmitResponse) {
	var managers []api.ManagerAddr
	for _, p := range r.Peers {
		managers = append(managers, api.ManagerAddr{ID: p.ID, Addrs: p.Addrs})
	}
	b.adopt(r.Credentials, r.Fleet.ID, managers)
}

func (b *board) adopt(c api.Credentials, fleet api.FleetID, managers []api.ManagerAddr) {
	// The memory first: a board must never be a member without being a veteran.
	if err := b.memory.Joined(fleet, managers); err != nil {
		b.w.t.Error(err)
	}
	if err := b.keeper.Adopt(c); err != nil {
		b.w.t.Error(err)
	}
}

func (b *board) announce() {
	a := discovery.Announcement{Node: b.keeper.Node(), Port: b.addr.Port(), KeyTag: b.key.Tag(), Fleet: b.keeper.Fleet(), Veteran: b.memory.Read().Veteran && b.keeper.Fleet() == ""}
	if f := b.authority(); f != nil {
		a.Manager = f.leader == b
	}
	b.finder.Announce(a)
}

// belong is a member's life, until its fleet has given way.
func (b *board) belong(ctx context.Context) {
	b.announce()
	fleet := b.authority()
	if fleet.leader == b {
		folder := NewFolder(FolderConfig{
			Client: b.client(), Finder: b.finder, Standing: b.Standing, Fold: fleet.fold,
			Rivals: func(r []api.FleetID) { b.mu.Lock(); b.rivals = r; b.mu.Unlock() },
		})
		if err := folder.Run(ctx); err != nil {
			b.w.t.Error(err)
		}
		wait(ctx, 2*time.Second) // its members are told first
	} else {
		for ctx.Err() == nil && (!b.w.connected(b, fleet.leader) || fleet.read().FoldedInto == "") {
			wait(ctx, 500*time.Millisecond)
		}
	}
	if ctx.Err() != nil {
		return
	}
	if err := b.memory.Folded(b.keeper.Fleet()); err != nil {
		b.w.t.Error(err)
	}
	if err := b.keeper.Forget(); err != nil {
		b.w.t.Error(err)
	}
	b.set(nil)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (b *board) authority() *authority {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fleet
}

func (b *board) set(a *authority) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fleet = a
}

// Standing implements Fleet.
func (b *board) Standing() Standing {
	m := b.memory.Read()
	s := Standing{Veteran: m.Veteran, Folded: m.Folded}
	if !b.key.IsZero() {
		s.Keys = []identity.FleetKey{b.key}
	}
	a := b.authority()
	if a == nil {
		return s
	}
	c := a.read()
	s.Member, s.Fleet, s.FoundedAt, s.FoundedBlind, s.Touched, s.FoldedInto = true, c.ID, c.FoundedAt, c.FoundedBlind, c.Touched, c.FoldedInto
	s.Managers = []api.ManagerAddr{{ID: a.leader.keeper.Node(), Addrs: []netip.AddrPort{a.leader.addr}}}
	if a.leader == b {
		s.Manager, s.Ready = true, true
		var err error
		if s.Tokens, err = Tokens(&c); err != nil {
			b.w.t.Error(err)
		}
	}
	return s
}

// Admit implements Fleet.
func (b *board) Admit(_ context.Context, r *api.AdmitRequest) (*api.AdmitResponse, error) {
	a := b.authority()
	if a == nil || a.leader != b {
		return nil, api.Errorf(api.Unavailable, "admit", "not the leader")
	}
	return a.admit(r, b.now())
}

// fleetOf is the fleet that a board is in, "" if in none.
func fleetOf(b *board) api.FleetID {
	if a := b.authority(); a != nil {
		return a.read().ID
	}
	return ""
}

// together reports whether all boards are in one fleet that has not given way.
func together(all []*board) bool {
	first := fleetOf(all[0])
	if first == "" || all[0].authority().read().FoldedInto != "" {
		return false
	}
	return !slices.ContainsFunc(all, func(b *board) bool { return fleetOf(b) != first })
}

// until waits for a condition in virtual time, looking ten times a second.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(start)
}
