package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// reason is why a node can't take a task, as said of one and of several nodes;
// the zero reason is that it can.
type reason struct{ one, many string }

func (r reason) ok() bool { return r.one == "" }

// of says it of a node by name.
func (r reason) of(name string) string { return fmt.Sprintf("no suitable node: %s %s", name, r.one) }

// explain says it of a fleet: "no suitable node: 2 lack 64 MB free, 1 is
// drained", the commonest first.
func explain(counts map[reason]int) string {
	if len(counts) == 0 {
		return "no suitable node: the fleet has none"
	}
	reasons := slices.SortedFunc(maps.Keys(counts), func(a, b reason) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.one, b.one))
	})
	var words []string
	for _, r := range reasons {
		text := r.many
		if counts[r] == 1 {
			text = r.one
		}
		words = append(words, fmt.Sprintf("%d %s", counts[r], text))
	}
	return "no suitable node: " + strings.Join(words, ", ")
}
