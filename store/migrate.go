package store

import "fmt"

// migration takes an object of a table from one format to the next. Numbered
// by the format it starts from, each does one step, and none is ever changed
// once released.
type migration struct {
	from int
	step func(table string, raw []byte) ([]byte, error)
}

// migrations, in order. Format 1 is the first.
var migrations []migration

// migrate brings an object that was written in an older format to this one's.
// A format newer than this build's that it may still read needs none.
func migrate(steps []migration, written int, table string, raw []byte) ([]byte, error) {
	for _, m := range steps {
		if m.from < written {
			continue
		}
		var err error
		if raw, err = m.step(table, raw); err != nil {
			return nil, fmt.Errorf("migrate %s from format %d: %w", table, m.from, err)
		}
	}
	return raw, nil
}
