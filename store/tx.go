package store

import "github.com/edgeswarm/edgeswarm/api"

// Tx collects the changes of one log entry on top of a View. It is used by one
// goroutine and given up after Update returns.
type Tx struct {
	*View // as it will be, own changes included

	changes []txChange
	at      map[ref]int // into changes
	about   *ref
	unknown api.Object // one that is of no table
}

// ref names an object of any table.
type ref struct {
	noun int
	key  string
}

// txChange is what becomes of one object: a delete, a put, or both where an
// object gives way to a new one of its key.
type txChange struct {
	ref
	put     api.Object
	deleted api.Object
}

func newTx(v *View) *Tx { return &Tx{View: v, at: map[ref]int{}} }

// Put creates each object (Meta.Version zero) or changes the one it was copied
// from: its version is what the change is conditional on. A later Put of the
// same object in one Tx replaces the earlier. Many objects in one call are put
// several times faster than one by one.
func (tx *Tx) Put(objects ...api.Object) {
	tx.View = tx.View.With(objects, nil)
	for _, obj := range objects {
		if c := tx.change(obj); c != nil {
			c.put = obj
			if obj.Head().Version != (api.Version{}) {
				c.deleted = nil
			}
		}
	}
}

// Delete removes each object, conditional on its version.
func (tx *Tx) Delete(objects ...api.Object) {
	tx.View = tx.View.With(nil, objects)
	for _, obj := range objects {
		if c := tx.change(obj); c != nil {
			c.put = nil
			if obj.Head().Version != (api.Version{}) {
				c.deleted = obj
			}
		}
	}
}

func (tx *Tx) change(obj api.Object) *txChange {
	n := nounFor(obj)
	if n < 0 {
		tx.unknown = obj
		return nil
	}
	r := ref{n, obj.Key()}
	i, ok := tx.at[r]
	if !ok {
		i = len(tx.changes)
		tx.changes = append(tx.changes, txChange{ref: r})
		tx.at[r] = i
	}
	return &tx.changes[i]
}

// About names the object that the request means, which a retry of it is
// answered with. Without a call it is the first one put, else deleted.
func (tx *Tx) About(obj api.Object) {
	if n := nounFor(obj); n >= 0 {
		tx.about = &ref{n, obj.Key()}
	}
}

// Empty reports whether nothing was changed; Update then proposes nothing.
func (tx *Tx) Empty() bool {
	for _, c := range tx.changes {
		if c.put != nil || c.deleted != nil {
			return false
		}
	}
	return true
}

// record is what the request's memory will say, but for the index.
func (tx *Tx) record() RequestRecord {
	about := tx.about
	for pass := 0; pass < 2 && about == nil; pass++ {
		for _, c := range tx.changes {
			if c.put != nil || pass == 1 && c.deleted != nil {
				about = &c.ref
				break
			}
		}
	}
	if about == nil {
		return RequestRecord{}
	}
	return RequestRecord{Table: nouns[about.noun].name, Key: about.key}
}
