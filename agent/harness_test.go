package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/runtime/sim"
)

const (
	testImage = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	testRef   = "docker.io/library/web:1@" + testImage
)

// board is a whole board in a synctest bubble: an agent, its simulated runtime
// and what else it needs, and a scripted leader. Restarting and rebooting it
// leaves the disk, and the leader, as they are.
type board struct {
	*testing.T
	dir, volumes string
	files        string // memory, on a real board
	host         *sim.Host
	leader       *leader
	images       *images
	network      *network
	logs         *logStore
	changed      chan struct{}
	dial         Dialer

	agent *Agent
	stop  func()

	boots    int
	mu       sync.Mutex
	hostname string
	said     strings.Builder // what edged logged, of all that was begun
	full     bool            // the disk
	deaf     string          // a container whose stop never ends
	count    int             // of writes to it, by this agent
}

// newBoard starts a board; what the containers do is by their command, or by
// script if that is not nil.
func newBoard(t *testing.T, script func(runtime.Container) sim.Script) *board {
	t.Helper()
	b := &board{
		T: t, dir: t.TempDir(), volumes: t.TempDir(), files: filepath.Join(t.TempDir(), "files"),
		host:    sim.NewHost(sim.Config{Image: testImage, Script: script}),
		leader:  &leader{items: map[api.ItemKey]api.Item{}, seen: map[api.TaskID]api.TaskStatus{}, lease: 3 * time.Second, period: time.Second},
		images:  &images{},
		network: &network{attached: map[api.TaskID]*api.Task{}},
		logs:    &logStore{open: map[string]bool{}, removed: map[api.TaskID]bool{}},
		changed: make(chan struct{}, 1), hostname: "board1",
	}
	t.Cleanup(func() {
		if b.stop != nil {
			b.kill()
		}
		for _, v := range b.leader.violations() {
			t.Error(v)
		}
		for _, v := range b.network.violations() {
			t.Error(v)
		}
	})
	b.begin()
	return b
}

// hearing is a runtime in which one container can't be stopped.
type hearing struct {
	runtime.Driver
	b *board
}

func (h hearing) Stop(ctx context.Context, id, signal string, grace time.Duration) error {
	h.b.mu.Lock()
	deaf := h.b.deaf == id
	h.b.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Driver.Stop(ctx, id, signal, grace)
}

// begin starts edged.
func (b *board) begin() {
	b.Helper()
	agent, err := New(Config{
		Node: "node1", Dir: b.dir, VolumesDir: b.volumes, FilesDir: b.files, Seal: testSeal(1), CgroupParent: "/edgeswarm", BootID: fmt.Sprintf("boot%d", b.boots), Driver: hearing{b.host.Open(), b},
		Images: b.images, Network: b.network, Logs: b.logs, Sessions: b.leader, Changed: b.changed, Dial: b.dial,
		Describe: b.describe,
		Addrs:    func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:2377")} },
		Now:      time.Now,
		OnSet:    b.leader.onSet,
		Logger:   slog.New(slog.NewTextHandler(said{b}, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.agent = agent
	agent.disk.db.NoSync = true // no test pulls the plug of this machine
	agent.disk.fault = b.fault
	b.count = 0
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("run: %v", err)
		}
	}
}

// said is a board's log.
type said struct{ b *board }

func (s said) Write(line []byte) (int, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.b.said.Write(line)
}

// heard is what edged logged since it was asked last.
func (b *board) heard() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.said.Reset()
	return b.said.String()
}

func (b *board) describe() api.NodeDescription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return api.NodeDescription{Hostname: b.hostname}
}

func (b *board) rename(hostname string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hostname = hostname
}

var errFull = errors.New("no space left on device")

func (b *board) fault(string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if b.full {
		return errFull
	}
	return nil
}

func (b *board) fillDisk(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = full
}

// writes counts those to the disk since edged began.
func (b *board) writes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// kill ends edged; containers run on.
func (b *board) kill() {
	b.stop()
	b.stop = nil
}

// restart replaces edged by another.
func (b *board) restart() {
	b.Helper()
	b.kill()
	b.begin()
}

// reboot pulls the plug and puts it back.
func (b *board) reboot() {
	b.Helper()
	b.unplug()
	b.begin()
}

func (b *board) unplug() {
	b.kill()
	b.host.Reboot()
	b.network.reset()
	b.boots++
}

// after lets time pass, and all that it brings about happen.
func (b *board) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *board) status(id api.TaskID) api.TaskStatus {
	s, _ := b.agent.outbox.get(id)
	return s
}

// want checks a task's state and attempt, here and, while it is connected, at the leader.
func (b *board) want(id api.TaskID, state api.TaskState, attempt int) api.TaskStatus {
	b.Helper()
	s := b.status(id)
	if s.State != state || s.Attempt != attempt {
		b.Fatalf("task %s is %+v, want %s of attempt %d", id, s, state, attempt)
	}
	if said := b.leader.status(id); b.agent.Standing().Connected && (said.State != state || said.Attempt != attempt) {
		b.Fatalf("leader knows of task %s: %+v, want %s of attempt %d", id, said, state, attempt)
	}
	return s
}

// running lists the containers that run.
func (b *board) running() (ids []string) {
	for _, c := range b.host.Containers() {
		if c.State == runtime.Running {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func (b *board) wantRunning(ids ...string) {
	b.Helper()
	if got := b.running(); !slices.Equal(got, ids) {
		b.Fatalf("running: %v, want %v", got, ids)
	}
}

// starts returns when each attempt of a task was started.
func (b *board) starts(id api.TaskID) (at []time.Time) {
	for _, e := range b.host.Journal() {
		if e.Task == id && e.Op == sim.OpStart {
			at = append(at, e.At)
		}
	}
	return at
}

// task is one that the leader may assign; with steps it runs a program.
func task(id api.TaskID, steps ...string) *api.Task {
	t := &api.Task{ID: id, ServiceID: "svc", ServiceName: "web", Slot: 1, NodeID: "node1", DesiredState: api.TaskRunning}
	t.Spec.ContainerSpec.Image = testRef
	if steps != nil {
		t.Spec.ContainerSpec.Command = sim.Program(steps...)
	}
	return t
}

func published(t *api.Task, number uint16) *api.Task {
	t.Ports = []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: number, PublishMode: api.PublishHost}}
	return t
}

// given names what a task was given of its board.
func given(t *api.Task, kind string, names ...string) *api.Task {
	for _, name := range names {
		t.GenericResources = append(t.GenericResources, api.GenericResource{NamedResourceSpec: &api.NamedGenericResource{Kind: kind, Value: name}})
	}
	return t
}

// leader is a scripted manager.
type leader struct {
	mu       sync.Mutex
	gone     bool
	lease    time.Duration
	period   time.Duration
	epoch    uint64
	seq      uint64
	items    map[api.ItemKey]api.Item
	at       *session
	seen     map[api.TaskID]api.TaskStatus
	reports  []heardReport
	hellos   []api.Hello
	last     api.NodeDescription
	complain []string
	sets     []toldSet
	mute     bool // takes reports and answers nothing
}

// toldSet is what OnSet was told.
type toldSet struct {
	fleet api.FleetInfo
	peers []api.Peer
}

type heardReport struct {
	at     time.Time
	report *api.Report
}

// session is the node's end of a stream to the leader.
type session struct {
	grpc.ClientStream
	ctx    context.Context
	leader *leader
	to     chan *api.Assignment
	broken chan struct{}
}

func (l *leader) Open(ctx context.Context) (grpc.BidiStreamingClient[api.Report, api.Assignment], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, api.Errorf(api.Unavailable, "dial leader", "no leader")
	}
	l.at = &session{ctx: ctx, leader: l, to: make(chan *api.Assignment, 1000), broken: make(chan struct{})}
	return l.at, nil
}

func (s *session) CloseSend() error { return nil }

func (s *session) Recv() (*api.Assignment, error) {
	select {
	case a := <-s.to:
		return a, nil
	case <-s.broken:
		return nil, io.EOF
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *session) Send(r *api.Report) error {
	select {
	case <-s.broken:
		return io.EOF
	default:
	}
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	s.leader.hear(s, api.Clone(r))
	return nil
}

func (l *leader) id() api.SetID { return api.SetID{Epoch: l.epoch, Seq: l.seq} }

func (l *leader) hear(s *session, r *api.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, heardReport{time.Now(), r})
	for _, t := range r.Tasks {
		old, known := l.seen[t.ID]
		if !known || t.Status.Newer(old) || t.Status.State == old.State && t.Status.Attempt == old.Attempt {
			l.seen[t.ID] = t.Status
		} else if r.Hello == nil {
			l.complain = append(l.complain, fmt.Sprintf("task %s went back from %s of attempt %d to %s of %d", t.ID, old.State, old.Attempt, t.Status.State, t.Status.Attempt))
		}
	}
	if r.Description != nil {
		l.last = *r.Description
	}
	a := &api.Assignment{Previous: l.id(), Next: l.id(), Lease: l.lease, HeartbeatPeriod: l.period, Time: time.Now()}
	if r.Hello != nil {
		l.hellos = append(l.hellos, *r.Hello)
		l.last = r.Hello.Description
		if r.Hello.Have != l.id() {
			a.Full, a.Previous, a.Set = true, r.Hello.Have, slices.Collect(maps.Values(l.items))
		}
	}
	if !l.mute {
		s.to <- api.Clone(a)
	}
}

// assign changes the set and sends the difference.
func (l *leader) assign(items ...api.Item) { l.change(items, nil) }

func (l *leader) change(items []api.Item, gone []api.ItemKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	previous := l.id()
	l.seq++
	for _, i := range items {
		l.items[i.Key()] = api.Clone(i)
	}
	for _, key := range gone {
		delete(l.items, key)
	}
	l.send(&api.Assignment{Previous: previous, Next: l.id(), Set: items, Removed: gone})
}

// send is called with mu held.
func (l *leader) send(a *api.Assignment) {
	a.Lease, a.HeartbeatPeriod = l.lease, l.period
	if l.at != nil {
		l.at.to <- api.Clone(a)
	}
}

func (l *leader) tasks(tasks ...*api.Task) {
	var items []api.Item
	for _, t := range tasks {
		items = append(items, api.Item{Task: t})
	}
	l.assign(items...)
}

// desire changes what is wanted of a task that was assigned.
func (l *leader) desire(id api.TaskID, state api.TaskState) {
	l.tasks(l.with(id, state))
}

func (l *leader) with(id api.TaskID, state api.TaskState) *api.Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := api.Clone(*l.items[api.ItemKey{Kind: "task", Key: string(id)}].Task)
	t.DesiredState = state
	return &t
}

func (l *leader) unassign(id api.TaskID) {
	l.change(nil, []api.ItemKey{{Kind: "task", Key: string(id)}})
}

// peek reads the leader's notes.
func peek[T any](l *leader, read func() T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return read()
}

func (l *leader) heard() []heardReport {
	return peek(l, func() []heardReport { return slices.Clone(l.reports) })
}
func (l *leader) greeted() []api.Hello {
	return peek(l, func() []api.Hello { return slices.Clone(l.hellos) })
}
func (l *leader) board() api.NodeDescription {
	return peek(l, func() api.NodeDescription { return l.last })
}
func (l *leader) has() api.SetID  { return peek(l, l.id) }
func (l *leader) told() []toldSet { return peek(l, func() []toldSet { return slices.Clone(l.sets) }) }

// alter changes the leader, as its own doing or not.
func (l *leader) alter(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// vanish ends the session and refuses others; appear takes them again.
func (l *leader) vanish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	l.cut()
}

func (l *leader) appear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = false
}

// cut is called with mu held.
func (l *leader) cut() {
	if l.at != nil {
		close(l.at.broken)
		l.at = nil
	}
}

func (l *leader) status(id api.TaskID) api.TaskStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[id]
}

func (l *leader) violations() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.complain)
}

func (l *leader) onSet(f api.FleetInfo, peers []api.Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets = append(l.sets, toldSet{f, peers})
}

// images fetches in no time, or not.
type images struct {
	mu    sync.Mutex
	err   map[api.ImageID]error
	asked []*api.Image
}

func (i *images) Ensure(ctx context.Context, image *api.Image) (api.ImageID, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, image)
	if err := i.err[image.ID]; err != nil {
		return "", err
	}
	return testImage, ctx.Err()
}

func (i *images) fail(id api.ImageID, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = map[api.ImageID]error{id: err}
}

// network complains of two tasks that have the same port.
type network struct {
	mu       sync.Mutex
	attached map[api.TaskID]*api.Task
	complain []string
	err      error
	retained [][]api.TaskID
	learned  []Fabric
}

func (n *network) Attach(_ context.Context, t *api.Task) (Attachment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return Attachment{}, n.err
	}
	for _, other := range n.attached {
		for _, p := range claimsOf(other) {
			if other.ID != t.ID && p.port() && slices.Contains(claimsOf(t), p) {
				n.complain = append(n.complain, fmt.Sprintf("%v is given to %s while %s has it", p, t.ID, other.ID))
			}
		}
	}
	n.attached[t.ID] = t
	return Attachment{NetNS: "/run/netns/" + string(t.ID), Addr: "10.0.0.2"}, nil
}

func (n *network) Detach(_ context.Context, id api.TaskID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, id)
	return nil
}

func (n *network) Retain(_ context.Context, ids []api.TaskID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retained = append(n.retained, ids)
	maps.DeleteFunc(n.attached, func(id api.TaskID, _ *api.Task) bool { return !slices.Contains(ids, id) })
	return nil
}

func (n *network) Learn(f Fabric) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.learned = append(n.learned, f)
}

func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.attached)
}

func (n *network) has(id api.TaskID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attached[id] != nil
}

func (n *network) violations() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.complain)
}

// logStore notes what is open.
type logStore struct {
	mu      sync.Mutex
	open    map[string]bool
	removed map[api.TaskID]bool
}

func (l *logStore) Open(_ context.Context, t *api.Task, attempt int) (string, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[runtime.ContainerID(t.ID, attempt)] = true
	return "", "", nil
}

func (l *logStore) Close(_ context.Context, id api.TaskID, attempt int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, runtime.ContainerID(id, attempt))
	return nil
}

func (l *logStore) Remove(_ context.Context, id api.TaskID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed[id] = true
	return nil
}
