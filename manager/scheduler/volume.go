package scheduler

import (
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// held counts, by node index, the task's named volumes that nodes hold. A task
// goes where most of its data is, before all else that it prefers: it is moved
// away from there by what rules the node out, and by nothing less. Nil if no
// node holds any.
func (p *placer) held(t *api.Task) map[int]int {
	if !slices.ContainsFunc(t.Spec.ContainerSpec.Mounts, namesVolume) {
		return nil
	}
	var counts map[int]int
	for _, n := range p.fleet.nodes {
		if len(n.Description.Volumes) == 0 {
			continue
		}
		spec, err := t.Spec.ContainerSpec.Expand(t.Facts(n.ID, n.Description))
		if err != nil {
			continue // its agent will say so
		}
		for _, m := range spec.Mounts {
			if namesVolume(m) && n.Description.Holds(m.Source) {
				if counts == nil {
					counts = map[int]int{}
				}
				counts[n.index]++
			}
		}
	}
	return counts
}

func namesVolume(m api.Mount) bool { return m.Type == api.MountVolume && m.Source != "" }

// ownVolumes reports whether tasks of one service may name different volumes.
func ownVolumes(t *api.Task) bool {
	return slices.ContainsFunc(t.Spec.ContainerSpec.Mounts, func(m api.Mount) bool {
		return namesVolume(m) && strings.Contains(m.Source, "{{")
	})
}
