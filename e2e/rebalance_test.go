package e2e

import (
	"strings"
)

// rebalances: a board that is back in use is given its share of what runs
// already, and no more moves than that takes.
func (f *fleet) rebalances() {
	f.must(1, "node", "update", "--availability", "drain", "board3")
	f.create("b", "--replicas", "4", "web:1")
	before := f.runs(1, "b", 4)
	f.must(1, "node", "update", "--availability", "active", "board3")
	if plan := f.must(2, "service", "rebalance", "--dry-run", "b"); !strings.Contains(plan, "1 to move") || !strings.Contains(plan, "board3") {
		f.t.Errorf("the plan is %s", plan)
	}
	f.must(2, "service", "rebalance", "--quiet", "b")
	after := f.runs(1, "b", 4)
	if n := on(after); n["board1"]+n["board2"] != 3 || n["board3"] != 1 || n["board1"] == 0 || n["board2"] == 0 {
		f.t.Errorf("tasks are on %v", n)
	}
	kept := 0
	for _, was := range before {
		for _, is := range after {
			if was.ID == is.ID {
				kept++
			}
		}
	}
	if kept != 3 {
		f.t.Errorf("%d of 4 tasks were left where they are, want 3", kept)
	}
	if again := f.must(3, "service", "rebalance", "b"); !strings.Contains(again, "nothing to move") {
		f.t.Errorf("a second time: %s", again)
	}
	f.remove("b")
}
