package node

import (
	"context"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// lookEvery is how often a board looks what is plugged in, and what it reaches. It takes about a
// millisecond, and nobody hears of it unless something changed.
const lookEvery = 5 * time.Second

// introduce is the first account that the board gives of itself.
func (b *Board) introduce() error {
	devices, err := b.devices()
	if err != nil {
		return err
	}
	subnets, err := b.parts.Network.Subnets()
	if err != nil {
		return err
	}
	p := b.parts
	b.self.Store(&api.NodeDescription{
		Hostname: b.cfg.Name, Platform: p.Platform, Resources: p.Resources, Model: p.Model, MemoryTotal: p.MemoryTotal, Devices: devices, Subnets: subnets, Mesh: b.parts.Network.Mesh(),
		Engine: api.EngineDescription{EngineVersion: b.cfg.Version}, BootID: b.cfg.BootID, Trouble: b.cfg.Trouble,
	})
	return nil
}

func (b *Board) devices() ([]api.BoardDevices, error) {
	if b.parts.Devices == nil {
		return nil, nil
	}
	return b.parts.Devices()
}

// devicesOf are the paths of the devices of a class that are there now.
func (b *Board) devicesOf(class string) ([]string, error) {
	all, err := b.devices()
	for _, d := range all {
		if d.Class == class {
			return d.Paths, nil
		}
	}
	return nil, err
}

// watchSelf keeps the board's account of its devices, subnets and keys true.
func (b *Board) watchSelf(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var before []api.BoardDevices
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		seen, err := b.devices()
		if err != nil {
			b.cfg.Logger.Warn("devices of this board unknown", "err", err)
			continue
		}
		now := b.describe()
		next := now
		if next.Subnets, err = b.parts.Network.Subnets(); err != nil {
			b.cfg.Logger.Warn("subnets of this board unknown", "err", err)
			continue
		}
		next.Mesh = b.parts.Network.Mesh()
		next.Devices, before = settle(now.Devices, before, seen), seen
		if !next.Equal(now) {
			b.self.Store(&next)
			b.wake()
		}
	}
}

// settle tells which devices to report: what is new at once, but what is
// missing only when it was not seen the last time either. Many a USB device
// goes for a second to come back, and a task must not be moved for that.
func settle(reported, before, seen []api.BoardDevices) []api.BoardDevices {
	have, last := paths(seen), paths(before)
	return with(seen, reported, func(path string) bool { return !have[path] && (before == nil || last[path]) })
}

func paths(devices []api.BoardDevices) map[string]bool {
	all := map[string]bool{}
	for _, d := range devices {
		for _, p := range d.Paths {
			all[p] = true
		}
	}
	return all
}

// with is seen, and those of reported that are kept.
func with(seen, reported []api.BoardDevices, keep func(string) bool) []api.BoardDevices {
	out := api.Clone(seen)
	for _, d := range reported {
		for _, p := range d.Paths {
			if !keep(p) {
				continue
			}
			at := slices.IndexFunc(out, func(o api.BoardDevices) bool { return o.Class == d.Class })
			if at < 0 {
				out = append(out, api.BoardDevices{Class: d.Class})
				at = len(out) - 1
			}
			out[at].Paths = append(out[at].Paths, p)
			slices.Sort(out[at].Paths)
		}
	}
	slices.SortFunc(out, api.BoardDevices.Compare)
	return out
}

// wake lets the agent tell the leader what has changed about the board.
func (b *Board) wake() {
	select {
	case b.changed <- struct{}{}:
	default: // it has yet to look for the last change
	}
}
