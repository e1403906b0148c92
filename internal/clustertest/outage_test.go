package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// A worker that is cut off from the others starts its tasks again after each
// of two reboots, while the fleet places them elsewhere. Once it is back,
// exactly as many run as are wanted, no task's state has moved backwards, and
// nothing on a healthy board was touched.
func TestAnIsolatedWorkerRebootsTwice(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 4, seed, func(t *testing.T, f *clustertest.Fleet) {
				create(t, f.Boards[0], "web", 8)
				f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
				worker := workers(f)[0]
				others := f.Others(worker)
				states := newStates(t, f, others[0])
				own := len(containers(worker, runtime.Running))
				if own == 0 {
					t.Fatal("the worker has no tasks")
				}

				f.Partition([]*clustertest.Board{worker})
				placed := f.Within(10*time.Second, "placed elsewhere", func() error {
					states.look()
					if n := running(others); n != 8 {
						return fmt.Errorf("%d tasks run on the others", n)
					}
					return nil
				})
				if t.Log("placed elsewhere after", placed); placed > 10*time.Second {
					t.Errorf("it took %v", placed)
				}
				before := events(others)
				for range 2 {
					worker.Reboot()
					f.Within(15*time.Second, "up again alone", func() error {
						states.look()
						if n := len(containers(worker, runtime.Running)); n != own {
							return fmt.Errorf("%d tasks run on the worker and not %d", n, own)
						}
						return nil
					})
					f.Pass(time.Duration(f.Rand.Int64N(int64(20 * time.Second))))
				}
				f.Heal()
				f.Within(30*time.Second, "one again", func() error {
					states.look()
					return errors.Join(f.Formed(3)(), f.Converged(others[0], "web", 8)())
				})
				if after := events(others); len(after) != len(before) {
					t.Errorf("tasks of healthy boards were touched: %v", after[len(before):])
				}
			})
		})
	}
}

// workers are the boards that don't take part in the log.
func workers(f *clustertest.Fleet) []*clustertest.Board {
	var out []*clustertest.Board
	for _, b := range f.Boards {
		if s := b.Status(); s != nil && !s.Manager {
			out = append(out, b)
		}
	}
	return out
}

func containers(b *clustertest.Board, state runtime.State) []runtime.Status {
	var out []runtime.Status
	for _, c := range b.Containers.Containers() {
		if c.State == state {
			out = append(out, c)
		}
	}
	return out
}

func running(boards []*clustertest.Board) (n int) {
	for _, b := range boards {
		n += len(containers(b, runtime.Running))
	}
	return n
}

// states watches that no task's state moves backwards while one node leads, and
// that no two tasks of one slot are both wanted running. A new leader has to be
// told again what its predecessor had only heard.
type states struct {
	t    *testing.T
	f    *clustertest.Fleet
	at   *clustertest.Board
	term string
	by   map[api.TaskID]api.TaskStatus
}

func newStates(t *testing.T, f *clustertest.Fleet, at *clustertest.Board) *states {
	return &states{t: t, f: f, at: at}
}

func (s *states) look() {
	s.t.Helper()
	if !s.at.On() {
		return
	}
	term := s.f.Term(s.at)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	resp, err := s.at.Control().ListTasks(ctx, &api.ListTasksRequest{})
	if err != nil || term == "" || s.f.Term(s.at) != term {
		return // nobody leads now, or another than a moment ago
	}
	if s.term != term {
		s.term, s.by = term, map[api.TaskID]api.TaskStatus{}
	}
	slots := map[string]api.TaskID{}
	for _, task := range resp.Tasks {
		if old, ok := s.by[task.ID]; ok && old.Newer(task.Status) {
			s.t.Errorf("task %s went from %d %s back to %d %s", task.ID, old.Attempt, old.State, task.Status.Attempt, task.Status.State)
		}
		s.by[task.ID] = task.Status
		if task.DesiredState != api.TaskRunning || task.Over() || task.Slot == 0 {
			continue
		}
		slot := fmt.Sprintf("%s.%d", task.ServiceName, task.Slot)
		if other, taken := slots[slot]; taken {
			s.t.Errorf("tasks %s and %s are both wanted in %s", other, task.ID, slot)
		}
		slots[slot] = task.ID
	}
}

// Whenever the power of all boards fails at once, what was acknowledged is
// there when it is back.
func TestPowerCutOfEverything(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 3+int(seed%2), seed, func(t *testing.T, f *clustertest.Fleet) {
				acknowledged := map[string]uint64{}
				replicas := map[string]int{}
				for cut := range 3 {
					stop := time.Now().Add(time.Duration(f.Rand.Int64N(int64(3 * time.Second))))
					for i := 0; time.Now().Before(stop); i++ {
						name := fmt.Sprintf("web-%d-%d", cut, i)
						service := create(t, f.Boards[f.Rand.IntN(len(f.Boards))], name, 1)
						acknowledged[name], replicas[name] = service.SpecVersion, 1
						if f.Rand.IntN(2) == 0 {
							service = change(t, f.Boards[f.Rand.IntN(len(f.Boards))], name, image("web:2"))
							acknowledged[name] = service.SpecVersion
						}
						f.Pass(time.Duration(f.Rand.Int64N(int64(300 * time.Millisecond))))
					}
					for _, b := range f.Boards {
						b.Cut()
					}
					f.Pass(time.Duration(f.Rand.Int64N(int64(time.Minute))))
					for _, b := range f.Boards {
						if f.Rand.IntN(2) == 0 {
							b.SetWall(time.Unix(0, 0)) // no battery
						}
						b.Start()
						f.Pass(time.Duration(f.Rand.Int64N(int64(4 * time.Second))))
					}
					f.AwaitFormed(time.Minute)
				}
				for name, version := range acknowledged {
					resp, err := f.Boards[0].Control().GetService(soon(t), &api.GetServiceRequest{Service: name})
					if err != nil {
						t.Fatalf("%s was acknowledged and is gone: %v", name, err)
					}
					if resp.Service.SpecVersion != version {
						t.Errorf("%s was acknowledged in version %d and is of version %d", name, version, resp.Service.SpecVersion)
					}
				}
				for name := range acknowledged {
					f.Within(time.Minute, "running again", f.Converged(f.Boards[0], name, replicas[name]))
				}
			})
		})
	}
}

// Tasks run on while edged is killed and started again: they are adopted.
func TestEdgedIsKilledUnderItsTasks(t *testing.T) {
	formed(t, 3, 30, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 6)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 6))
		f.Pass(10 * time.Second)
		before := len(events(f.Boards))
		for _, b := range f.Boards {
			b.Kill()
			f.Pass(time.Second)
			b.Start()
			f.AwaitFormed(20 * time.Second)
			b.Stop()
			f.Pass(time.Second)
			b.Start()
			f.AwaitFormed(20 * time.Second)
		}
		f.Within(10*time.Second, "at rest", f.Converged(f.Boards[0], "web", 6))
		if after := events(f.Boards); len(after) != before {
			t.Errorf("tasks were touched: %v", after[before:])
		}
	})
}

// A fleet at rest sends no task to its grave and writes nothing: no commit in
// ten minutes.
func TestAnIdleFleetStaysAtRest(t *testing.T) {
	formed(t, 4, 31, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 4)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 4))
		f.Pass(30 * time.Second)
		before, files := len(events(f.Boards)), f.Files()
		f.Pass(10 * time.Minute)
		if after := events(f.Boards); len(after) != before {
			t.Errorf("tasks were touched: %v", after[before:])
		}
		if now := f.Files(); now != files {
			t.Errorf("the boards' files changed:\n%s\n%s", files, now)
		}
	})
}
