package scheduler

import (
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/store"
)

// Elsewhere finds the node for a task that keeps failing where it is: the one that
// it would be given if its own took no tasks. False means that there is none, or
// none better: the others are as faulty for it, or lack data that its own has.
func Elsewhere(v *store.View, t *api.Task) (api.NodeID, bool) {
	p := &placer{v: v, fleet: Sum(v).fleet(v)}
	own := p.fleet.node(t.NodeID)
	next := *t
	next.NodeID, next.Failures = "", t.Failures+1
	g := p.newGroup(&next)
	g.prefer(&next)
	for n := g.best(); n != nil; n = g.best() {
		if n == own || !g.rules.room(g.placer.v, n, g.counts[n.index], nil).ok() {
			g.exclude()
			continue
		}
		worse := g.faulty[n.index] || own != nil && g.held[n.index] < g.held[own.index]
		return n.ID, !worse
	}
	return "", false
}
