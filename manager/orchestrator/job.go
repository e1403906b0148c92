package orchestrator

import (
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// runJob gives a replicated job as many tasks as may run at once and are still
// to complete. What completed is remembered by its tasks, which are kept: so no
// leader and no node, present or gone, makes a slot run again in the same run.
func (p *pass) runJob() {
	p.reap()
	most, total := p.s.Spec.Mode.Concurrency()
	var active []*slot
	settled, ending := 0, 0
	for _, s := range p.slots {
		switch {
		case p.completed(s) || p.gaveUp(s):
			settled++
		case s.current() != nil:
			active = append(active, s)
		case p.unsaid(s):
			ending++
		}
	}
	want := int(min(most, total-min(total, uint64(settled))))
	if len(active) > want {
		p.giveUp(active, len(active)-want)
	}
	for number := 1; len(active)+ending < want; number++ {
		s := p.slot(place{number: number})
		if s.current() == nil && !p.completed(s) && !p.unsaid(s) {
			p.create(s, nil)
			active = append(active, s)
		}
	}
	p.vacate(func(s *slot) bool { return p.completed(s) })
}

// coverJob gives a global job a task on every node that it is meant for and
// that has not completed one. A node that is down goes on when it is back.
func (p *pass) coverJob() {
	p.reap()
	for node := range p.v.Nodes.All() {
		s := p.slot(place{node: node.ID})
		switch {
		case p.completed(s):
		case !p.fits(node):
			for _, t := range slices.Clone(s.tasks) {
				p.retire(s, t)
			}
		case s.current() == nil && p.covers(node.ID) && !p.unsaid(s):
			p.create(s, nil)
		case s.current() != nil && p.deprived(node, s.current()):
			p.retire(s, s.current())
		}
	}
}

// reap ends what is of an earlier run, and marks what completed in this one as
// done, so that it is wanted no more; others of a slot that is done with it.
func (p *pass) reap() {
	for _, s := range p.slots {
		for _, t := range slices.Clone(s.tasks) {
			switch {
			case p.s.Completes(t):
				if t.DesiredState != api.TaskComplete {
					p.change(s, t, func(t *api.Task) { t.DesiredState = api.TaskComplete })
				}
			case !p.ofRun(t):
				p.retire(s, t)
			}
		}
		if !p.completed(s) {
			continue
		}
		for _, t := range slices.Clone(s.tasks) {
			p.retire(s, t)
		}
	}
}

// ofRun reports whether the task belongs to the job's present run.
func (p *pass) ofRun(t *api.Task) bool {
	return t.JobIteration != nil && *t.JobIteration == p.s.Iteration()
}

// completed reports whether the slot has done its work in the present run.
func (p *pass) completed(s *slot) bool { return slices.ContainsFunc(s.tasks, p.s.Completes) }

// unsaid reports whether a task of the present run was told to end and has yet to
// say how it did: it may have completed before, and a leader new to its office has
// not heard of it.
func (p *pass) unsaid(s *slot) bool {
	return slices.ContainsFunc(s.tasks, func(t *api.Task) bool { return p.ofRun(t) && p.ending(t) })
}

// gaveUp reports whether the slot failed and is not to be tried again.
func (p *pass) gaveUp(s *slot) bool {
	t := s.current()
	return t != nil && p.s.GivenUp(t)
}
