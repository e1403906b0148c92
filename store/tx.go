package store

import (
	"fmt"

	"github.com/edgeswarm/edgeswarm/api"
)

// Tx collects the changes of one log entry on top of a View. It is used by one
// goroutine and given up after Update returns.
type Tx struct {
	*View // as it will be, own changes included
	base  *View

	puts    []api.Object
	deletes []api.Object
}

// Put creates obj (Meta.Version zero) or changes the one it was copied from:
// its version is what the change is conditional on. A later Put of the same
// object in one Tx replaces the earlier.
func (tx *Tx) Put(obj api.Object) {
	tx.View = tx.View.With([]api.Object{obj}, nil)
	tx.puts = append(replace(tx.puts, obj), obj)
}

// Delete removes obj, conditional on its version.
func (tx *Tx) Delete(obj api.Object) {
	tx.View = tx.View.With(nil, []api.Object{obj})
	tx.puts = replace(tx.puts, obj)
	tx.deletes = append(replace(tx.deletes, obj), obj)
}

// Empty reports whether nothing was changed; Update then proposes nothing.
func (tx *Tx) Empty() bool { return len(tx.puts) == 0 && len(tx.deletes) == 0 }

func replace(objects []api.Object, obj api.Object) []api.Object {
	kept := objects[:0:0]
	for _, o := range objects {
		if o.Key() != obj.Key() || fmt.Sprintf("%T", o) != fmt.Sprintf("%T", obj) {
			kept = append(kept, o)
		}
	}
	return kept
}
