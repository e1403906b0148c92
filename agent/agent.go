package agent

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Config of an Agent. All fields are needed unless they say otherwise.
type Config struct {
	Node api.NodeID
	// Dir is the agent's folder in the state directory. It is written to when
	// the assignment set changes, when an attempt of a task begins or is first
	// found healthy, and when a task ends for good, and not otherwise.
	Dir string
	// Devices answers the paths of this board's devices of a class.
	Devices func(class string) ([]string, error)
	// VolumesDir holds a folder for each named volume.
	VolumesDir string
	// FilesDir is where tasks' secrets and configs lie in the clear: in memory,
	// and nobody's but root's. Seal keeps secrets on disk for this node alone; a
	// node without it takes none.
	FilesDir string
	Seal     cipher.AEAD
	// CgroupParent is the cgroup of all tasks ("/edgeswarm").
	CgroupParent string
	// BootID changes with every boot of the board: what a runtime says of
	// processes of an earlier one is not how they ended.
	BootID string

	Driver   runtime.Driver
	Images   Images
	Network  Network
	Logs     Logs
	Sessions Sessions
	// Dial opens the connections of health checks. Nil is a net.Dialer.
	Dial Dialer

	// Describe answers what the board is; the agent fills in the Engine's Runtime
	// and RuntimeError. Addrs answers where the node listens.
	Describe func() api.NodeDescription
	Addrs    func() []netip.AddrPort
	// Changed wakes the agent to ask both again. It is never closed, and may be nil.
	Changed <-chan struct{}
	// Now is the fleet's time, for people to read: nothing is measured by it.
	Now func() time.Time

	// OnSet is told of the fleet and the other members when the agent begins
	// and whenever they change; OnTime of the fleet's time at the leader. They
	// are called one after the other and must not block. They may be nil.
	OnSet  func(api.FleetInfo, []api.Peer)
	OnTime func(time.Time)

	Logger *slog.Logger
}

// Sessions opens sessions with the leader, wherever it is.
type Sessions interface {
	// Open returns a stream that ends with ctx.
	Open(ctx context.Context) (grpc.BidiStreamingClient[api.Report, api.Assignment], error)
}

// Agent keeps a node's tasks as they should be.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	disk    *disk
	health  *health
	outbox  *outbox
	claims  *claims
	volumes *volumes
	starts  chan struct{} // bounds how many containers are made or started at once
	execs   chan struct{} // bounds how many probes run commands at once

	described ring // the description may have changed
	assigned  ring // the set has changed, or a worker has finished

	mu       sync.Mutex
	set      set
	records  map[api.TaskID]record // as they were at the start
	workers  map[api.TaskID]*worker
	standing Standing
	diskErr  error
}

// startsAtOnce keeps a board that boots with many tasks from starting all in
// the same second.
const startsAtOnce = 4

// execsAtOnce keeps the probes of many tasks from taking a board's time: each
// begins a process.
const execsAtOnce = 4

// Standing is how the node stands towards its leader.
type Standing struct {
	// Connected is set while a session is open.
	Connected bool
	// Have is the assignment set that the node holds on disk.
	Have api.SetID
	// Until is when the lease ends, by this process's stopwatch; zero before the first.
	Until time.Time
	// Err is why the last session ended or did not begin.
	Err error
}

// New opens the agent's state. Run must follow, and lets go of it. An error is
// for people to read: the state is damaged, in use, or of a newer version.
func New(cfg Config) (*Agent, error) {
	for name, missing := range map[string]bool{
		"Driver": cfg.Driver == nil, "Images": cfg.Images == nil, "Network": cfg.Network == nil, "Logs": cfg.Logs == nil,
		"Sessions": cfg.Sessions == nil, "Describe": cfg.Describe == nil, "Addrs": cfg.Addrs == nil, "Now": cfg.Now == nil, "Logger": cfg.Logger == nil,
	} {
		if missing {
			return nil, fmt.Errorf("open agent: config leaves out %s", name)
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = &net.Dialer{}
	}
	d, err := openDisk(cfg.Dir, cfg.Seal)
	if err != nil {
		return nil, fmt.Errorf("open agent: %w", err)
	}
	stored, records, err := d.load()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open agent: %w", err), d.close())
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger, disk: d, set: stored, records: records, workers: map[api.TaskID]*worker{},
		outbox: newOutbox(), claims: newClaims(), starts: make(chan struct{}, startsAtOnce),
		execs: make(chan struct{}, execsAtOnce), described: newRing(), assigned: newRing(),
	}
	a.standing.Have = stored.id
	d.note = a.noteDisk
	if a.volumes, err = openVolumes(cfg.VolumesDir, a.described.ring); err != nil {
		return nil, errors.Join(fmt.Errorf("open agent: %w", err), d.close())
	}
	a.health = newHealth(cfg.Driver, runtimeStarts(records, cfg.BootID), cfg.Logger, a.described.ring)
	return a, nil
}

// runtimeStarts is how long the runtime may still be starting: not at all if
// tasks ran since the boot. They may still run, and their leader must not take
// the board for dead meanwhile.
func runtimeStarts(records map[api.TaskID]record, boot string) time.Duration {
	for _, r := range records {
		if r.BootID == boot {
			return 0
		}
	}
	return startsWithin
}

// Run works until ctx ends. Tasks go on running without it.
func (a *Agent) Run(ctx context.Context) error {
	a.tellSet(a.set)
	a.cfg.Network.Learn(a.set.fabric(a.cfg.Node))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.health.run(ctx) })
	g.Go(func() error { return a.work(ctx) })
	g.Go(func() error { return a.session(ctx) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if closeErr := a.disk.close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close agent state: %w", closeErr))
	}
	return err
}

// work gives each task of the set a worker, from the moment that what a former
// process left running is known.
func (a *Agent) work(ctx context.Context) error {
	found, err := a.survey(ctx)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		for _, w := range a.reconcile(found) {
			running.Go(func() {
				w.run(ctx)
				a.assigned.ring()
			})
		}
		found = nil
		select {
		case <-a.assigned:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// reconcile makes and tells the workers what the set says, and returns the new
// ones, to be run. Found are containers of before.
func (a *Agent) reconcile(found map[api.TaskID][]runtime.Status) (fresh []*worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, w := range a.workers {
		if w.finished.opened() {
			delete(a.workers, id)
		}
	}
	want := a.set.tasks()
	for id := range a.records {
		if want[id] == nil {
			want[id] = &api.Task{ID: id, DesiredState: api.TaskRemoved} // and not in the set: see below
		}
	}
	for id, task := range want {
		if a.workers[id] == nil {
			w := newWorker(a, task, a.records[id], found[id])
			a.workers[id] = w
			fresh = append(fresh, w)
		}
	}
	a.records = nil
	// All workers exist before any is told of a change: one that is to stop
	// looks for its successor.
	for id, w := range a.workers {
		task := a.set.task(id)
		if task == nil {
			w.absent.open()
			w.want(api.TaskRemoved, nil)
			continue
		}
		w.want(task.DesiredState, a.successor(id))
	}
	return fresh
}

// successor finds the worker that takes over from a task, if it is to run here.
func (a *Agent) successor(id api.TaskID) *worker {
	for _, w := range a.workers {
		if t := a.set.task(w.id); t != nil && t.Replaces == id && t.DesiredState == api.TaskRunning {
			return w
		}
	}
	return nil
}

// predecessor finds the worker that w takes over from, if it is on this board.
func (a *Agent) predecessor(w *worker) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.task.Replaces == "" {
		return nil
	}
	return a.workers[w.task.Replaces]
}

// image returns what is known of the image of a task.
func (a *Agent) image(task *api.Task) *api.Image {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.image(task.Spec.ContainerSpec.Image)
}

// noteDisk remembers whether state can be written: a board whose disk is full
// says so and takes no tasks.
func (a *Agent) noteDisk(err error) {
	a.mu.Lock()
	changed := (err == nil) != (a.diskErr == nil)
	a.diskErr = err
	a.mu.Unlock()
	if !changed {
		return
	}
	if err != nil {
		a.log.Error("agent state can't be written", "err", err)
	} else {
		a.log.Info("agent state can be written again")
	}
	a.described.ring()
}

// AwaitRuntime waits until the container runtime answers, or ctx ends.
func (a *Agent) AwaitRuntime(ctx context.Context) error { return a.health.ready(ctx) }

// description is the board's account of itself, and of what keeps it from running tasks.
func (a *Agent) description() api.NodeDescription {
	d := a.cfg.Describe()
	var err error
	d.Engine.Runtime, err = a.health.state()
	a.mu.Lock()
	if a.diskErr != nil {
		err = a.diskErr
	}
	a.mu.Unlock()
	d.Volumes = a.volumes.list()
	d.Engine.RuntimeError = ""
	if err != nil {
		d.Engine.RuntimeError = err.Error()
	}
	return d
}

func (a *Agent) tellSet(s set) {
	if a.cfg.OnSet == nil {
		return
	}
	if fleet, ok := s.fleet(); ok {
		a.cfg.OnSet(fleet, s.peers())
	}
}
