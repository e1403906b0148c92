package discovery

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Together makes one Finder of several: all announce, and what any hears
// counts. A board heard of by two is one sighting, the newer, with the
// addresses of both. It runs until ctx ends or one of them errs.
func Together(finders ...Finder) Finder {
	return &together{finders: finders, changed: make(chan struct{}, 1)}
}

type together struct {
	finders []Finder
	changed chan struct{}
}

func (t *together) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(t.finders))
	for i, f := range t.finders {
		wg.Go(func() {
			if errs[i] = f.Run(ctx); errs[i] != nil {
				cancel()
			}
		})
		wg.Go(func() { t.relay(ctx, f) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (t *together) relay(ctx context.Context, f Finder) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.Changed():
			select {
			case t.changed <- struct{}{}:
			default:
			}
		}
	}
}

func (t *together) Announce(a Announcement) {
	for _, f := range t.finders {
		f.Announce(a)
	}
}

func (t *together) Sightings() []Sighting {
	var out []Sighting
	for _, f := range t.finders {
		for _, s := range f.Sightings() {
			at, known := slices.BinarySearchFunc(out, s, compareNode)
			if !known || s.Node == "" { // without a node, each is a board of its own
				out = slices.Insert(out, at, s)
				continue
			}
			older := out[at]
			if older.Heard.After(s.Heard) {
				older, s = s, older
			}
			for _, a := range older.Addrs {
				if !slices.Contains(s.Addrs, a) {
					s.Addrs = append(slices.Clip(s.Addrs), a)
				}
			}
			out[at] = s
		}
	}
	return out
}

func compareNode(a, b Sighting) int {
	switch {
	case a.Node < b.Node:
		return -1
	case a.Node > b.Node:
		return 1
	default:
		return 0
	}
}

func (t *together) Changed() <-chan struct{} { return t.changed }
