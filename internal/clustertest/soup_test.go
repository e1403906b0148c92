package clustertest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
)

// For a minute boards lose their power, their edged, their network or parts of
// it at random, while users change services at random boards. Throughout, no
// leader sees a task's state move backwards or wants two tasks in one slot; and
// once the trouble is over, the fleet comes to exactly what was declared last.
func TestFaultSoup(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 3+int(seed%3), seed, func(t *testing.T, f *clustertest.Fleet) {
				s := &soup{t: t, f: f, wanted: map[string]*wish{}}
				for i := range 3 {
					name := fmt.Sprint("web", i)
					create(t, f.Boards[i], name, uint64(2+i))
					s.wanted[name] = &wish{replicas: 2 + i, version: 1}
				}
				for _, b := range f.Boards {
					s.watch = append(s.watch, newStates(t, f, b))
				}
				for began := time.Now(); time.Since(began) < time.Minute; {
					s.trouble()
					s.command()
					for range 1 + f.Rand.IntN(6) {
						f.Pass(time.Duration(f.Rand.Int64N(int64(time.Second))))
						for _, w := range s.watch {
							w.look()
						}
					}
				}
				s.calm()
			})
		})
	}
}

// soup is the trouble, and what was declared meanwhile.
type soup struct {
	t      *testing.T
	f      *clustertest.Fleet
	watch  []*states
	wanted map[string]*wish
}

// wish is what a service is to be.
type wish struct {
	replicas int
	version  uint64 // acknowledged
	unsure   bool   // a change was neither acknowledged nor refused
}

// trouble does one bad thing, or ends one.
func (s *soup) trouble() {
	f := s.f
	b := f.Boards[f.Rand.IntN(len(f.Boards))]
	switch f.Rand.IntN(9) {
	case 0, 1:
		if b.On() {
			b.Cut()
		}
	case 2:
		if b.On() {
			b.Kill()
		}
	case 3, 4:
		for _, b := range f.Boards {
			if !b.On() && f.Rand.IntN(2) == 0 {
				if f.Rand.IntN(3) == 0 {
					b.SetWall(time.Unix(int64(f.Rand.IntN(2e9)), 0))
				}
				b.Start()
			}
		}
	case 5:
		f.Partition([]*clustertest.Board{b})
	case 6:
		f.Partition(f.Boards[:len(f.Boards)/2])
	case 7:
		f.Heal()
	case 8:
		f.Faults(f.Rand.Float64()*0.25, time.Millisecond, time.Duration(f.Rand.Int64N(int64(30*time.Millisecond))))
	}
}

// command changes a service at some board, and notes what became of it.
func (s *soup) command() {
	f := s.f
	b := f.Boards[f.Rand.IntN(len(f.Boards))]
	if !b.On() {
		return
	}
	name := fmt.Sprint("web", f.Rand.IntN(len(s.wanted)))
	w := s.wanted[name]
	p, replicas := scale(uint64(1+f.Rand.IntN(6))), w.replicas
	updates := f.Rand.IntN(3) == 0
	if updates {
		p = image(fmt.Sprint("web:", f.Rand.IntN(1e6)))
	} else {
		replicas = int(*p.Replicas)
	}
	service, err := patch(b, api.NewID[api.RequestID](), name, p)
	switch {
	case err != nil:
		w.unsure = true
	case service.SpecVersion < w.version:
		s.t.Errorf("%s went from version %d back to %d", name, w.version, service.SpecVersion)
	case !updates:
		w.version, w.replicas, w.unsure = service.SpecVersion, replicas, false
	default:
		w.version = service.SpecVersion
	}
}

// calm ends all trouble and awaits what was declared.
func (s *soup) calm() {
	f := s.f
	f.Heal()
	f.Faults(0, 0, 0)
	for _, b := range f.Boards {
		if !b.On() {
			b.Start()
		}
	}
	f.AwaitFormed(3 * time.Minute)
	at := f.Boards[0]
	for name, w := range s.wanted {
		resp, err := at.Control().GetService(soon(s.t), &api.GetServiceRequest{Service: name})
		if err != nil {
			s.t.Fatal(err)
		}
		if resp.Service.SpecVersion < w.version {
			s.t.Errorf("version %d of %s was acknowledged, it is of version %d", w.version, name, resp.Service.SpecVersion)
		}
		declared := int(resp.Service.Spec.Replicas())
		if !w.unsure && declared != w.replicas {
			s.t.Errorf("%d replicas of %s were acknowledged, and %d are declared", w.replicas, name, declared)
		}
		f.Within(3*time.Minute, "as declared", func() error {
			for _, w := range s.watch {
				w.look()
			}
			err := f.Converged(at, name, declared)()
			if u := resp.Service.UpdateStatus; err != nil && u != nil {
				err = errors.Join(err, fmt.Errorf("update: %s", u.Message))
			}
			return err
		})
	}
}
