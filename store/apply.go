package store

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
)

// outcome is what Apply hands to the Writer that proposed the entry.
type outcome struct {
	record   RequestRecord
	repeated bool
	refused  *api.Error // the entry changed nothing
}

// apply is the state machine: from a view and an entry to the next view, what
// changed, and what to tell the proposer. It looks at nothing else, so every
// manager comes to the same. An error means that this build can't read the
// entry.
func apply(v *View, index uint64, entry []byte) (*View, []Change, outcome, error) {
	env, ch, err := decodeEntry(entry)
	if err != nil {
		return nil, nil, outcome{}, err
	}
	puts, err := ch.objects(env.Format)
	if err != nil {
		return nil, nil, outcome{}, err
	}
	for _, d := range ch.Deletes {
		if _, err := nounNamed(d.Table); err != nil {
			return nil, nil, outcome{}, err
		}
	}
	next := *v
	next.Index = index
	if env.Time.After(v.Time) {
		next.Time = env.Time
	}
	if record, ok := v.Request(env.Request); ok && env.Request != "" {
		return &next, nil, outcome{record: record, repeated: true}, nil
	}
	p := plan{before: v, after: &next, user: ch.User}
	if refused := p.run(puts, ch.Deletes); refused != nil {
		return &next, nil, outcome{refused: refused}, nil
	}
	if c := p.after.Cluster(); c != nil && c.Level > api.FeatureLevel {
		return nil, nil, outcome{}, fmt.Errorf("fleet raised to feature level %d (this build knows up to %d): %w", c.Level, api.FeatureLevel, ErrUnknownFormat)
	}
	record := RequestRecord{Index: index}
	if ch.About != nil {
		record.Table, record.Key = ch.About.Table, ch.About.Key
	}
	if env.Request != "" {
		p.after.requests = p.after.requests.with(env.Request, record)
	}
	return p.after, p.changes, outcome{record: record}, nil
}

// plan is one entry on its way into the state.
type plan struct {
	before, after *View
	user          bool
	changes       []Change
}

func conflict(format string, args ...any) *api.Error {
	return api.Errorf(api.Conflict, "", format, args...)
}

// run checks everything and then changes p.after, or refuses and changes nothing.
func (p *plan) run(puts []put, deletes []target) *api.Error {
	if c := p.before.Cluster(); p.user && c != nil && c.FoldedInto != "" {
		return conflict("this fleet has given way to fleet %s and takes no more writes: ask again once this board has joined it", c.FoldedInto)
	}
	gone, dropped, refused := p.checkDeletes(deletes)
	if refused != nil {
		return refused
	}
	objects, refused := p.checkPuts(puts, gone)
	if refused != nil {
		return refused
	}
	next := p.after.With(objects, dropped)
	if touched := p.touch(next); touched != nil {
		next = next.With([]api.Object{touched}, nil)
	}
	for _, obj := range objects {
		n := nouns[nounFor(obj)]
		if index, value, holder, taken := n.taken(next, obj); taken {
			return conflict("%s %q is in use by %s %s", index, value, n.name, holder)
		}
	}
	if refused := p.checkCluster(next.Cluster()); refused != nil {
		return refused
	}
	p.after = next
	return nil
}

// checkDeletes returns which objects go, and records them.
func (p *plan) checkDeletes(deletes []target) (map[ref]bool, []api.Object, *api.Error) {
	gone := map[ref]bool{}
	var dropped []api.Object
	for _, d := range deletes {
		n, _ := nounNamed(d.Table) // apply has looked
		r := ref{n, d.Key}
		old, ok := nouns[n].get(p.before, d.Key)
		switch {
		case gone[r]:
			return nil, nil, api.Errorf(api.Invalid, "", "%s %s is deleted twice in one change", d.Table, d.Key)
		case !ok:
			return nil, nil, conflict("%s %s does not exist any more", d.Table, d.Key)
		case old.Head().Version.Index != d.Version:
			return nil, nil, changed(d.Table, d.Key, d.Version, old)
		}
		gone[r] = true
		dropped = append(dropped, old)
		p.changes = append(p.changes, Change{Table: d.Table, Old: old})
	}
	return gone, dropped, nil
}

// checkPuts fills in the objects' metadata and records them.
func (p *plan) checkPuts(puts []put, gone map[ref]bool) ([]api.Object, *api.Error) {
	seen := map[ref]bool{}
	var objects []api.Object
	for _, set := range puts {
		table := nouns[set.noun].name
		if set.key == "" || seen[set.ref] {
			return nil, api.Errorf(api.Invalid, "", "%s %q is put without an ID or twice in one change", table, set.key)
		}
		seen[set.ref] = true
		old, exists := nouns[set.noun].get(p.before, set.key)
		exists = exists && !gone[set.ref]
		head := set.obj.Head()
		switch {
		case set.base == 0 && exists:
			return nil, conflict("%s %s exists already", table, set.key)
		case set.base != 0 && !exists:
			return nil, conflict("%s %s does not exist any more", table, set.key)
		case set.base != 0 && old.Head().Version.Index != set.base:
			return nil, changed(table, set.key, set.base, old)
		}
		head.CreatedAt = p.after.Time
		c := Change{Table: table, New: set.obj}
		if exists {
			head.CreatedAt = old.Head().CreatedAt
			c.Old = old
		}
		p.stamp(head)
		p.changes = append(p.changes, c)
		objects = append(objects, set.obj)
	}
	return objects, nil
}

func (p *plan) stamp(head *api.Meta) {
	head.Version = api.Version{Index: p.after.Index}
	head.UpdatedAt = p.after.Time
}

func changed(table, key string, decided uint64, now api.Object) *api.Error {
	return conflict("%s %s has changed since version %d (it is at %d): look at it and decide again", table, key, decided, now.Head().Version.Index)
}

// touch returns the cluster as a user's first write leaves it, nil if it stays
// as it is.
func (p *plan) touch(next *View) api.Object {
	c := next.Cluster()
	if !p.user || c == nil || c.Touched {
		return nil
	}
	touched := *c
	touched.Touched = true
	p.stamp(&touched.Meta)
	for i := range p.changes {
		if p.changes[i].New == api.Object(c) {
			p.changes[i].New = &touched
			return &touched
		}
	}
	p.changes = append(p.changes, Change{Table: clusterSchema.name, Old: c, New: &touched})
	return &touched
}

// checkCluster holds what must stay true of the fleet as a whole.
func (p *plan) checkCluster(next *api.Cluster) *api.Error {
	prev := p.before.Cluster()
	if prev == nil || next == nil || next == prev {
		if prev != nil && next == nil {
			return conflict("the fleet's own object can't be deleted")
		}
		return nil
	}
	switch {
	case next.FoldedInto != "" && prev.FoldedInto == "" && (prev.Touched || next.Touched):
		return conflict("this fleet has been written to and does not give way to fleet %s: choose between them", next.FoldedInto)
	case prev.FoldedInto != "" && next.FoldedInto != prev.FoldedInto:
		return conflict("this fleet has given way to fleet %s for good", prev.FoldedInto)
	case prev.Touched && !next.Touched:
		return conflict("a fleet that was written to stays so")
	case next.Level < prev.Level:
		return conflict("the feature level can't go back from %d to %d", prev.Level, next.Level)
	}
	return nil
}
