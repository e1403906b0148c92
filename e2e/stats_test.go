package e2e

import (
	"fmt"
	"strconv"
	"strings"
)

// statsRow is a line of `task stats`.
type statsRow struct{ ID, Name, Node, CPUPerc, MemUsage, NetIO, PIDs string }

// tellsWhatTasksUse: a busy task on another board is seen to be busy.
func (f *fleet) tellsWhatTasksUse() {
	f.create("busy", "--limit-cpu", "0.3", "--limit-memory", "32m", "--constraint", "node.hostname==board2", "--entrypoint", "sh", "web:1", "-c", "sleep 1000 & while :; do :; done")
	f.create("idle", "--constraint", "node.hostname==board1", "web:1")
	f.runs(1, "busy", 1)
	f.runs(1, "idle", 1)
	f.until("what both use", soon, func() error {
		list, err := rows[statsRow](f, 1, "task", "stats", "--no-stream", "busy", "idle.1")
		if err != nil || len(list) != 2 {
			return fmt.Errorf("%+v, %w", list, err)
		}
		busy, idle := list[0], list[1]
		percent := func(r statsRow) float64 {
			n, err := strconv.ParseFloat(strings.TrimSuffix(r.CPUPerc, "%"), 64)
			if err != nil {
				return -1
			}
			return n
		}
		switch p := percent(busy); {
		case busy.Node != "board2" || idle.Node != "board1" || busy.Name != "busy.1":
			return fmt.Errorf("%+v", list)
		case p < 3 || p > 60 || percent(idle) < 0 || percent(idle) > p: // other tests run beside this one
			return fmt.Errorf("%+v", list)
		case !strings.HasSuffix(busy.MemUsage, " / 32MiB") || busy.PIDs != "2" || !strings.Contains(idle.NetIO, "B / "):
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
	if s := f.try(2, "task", "stats", "--no-stream", "nope"); s.Code == 0 || !strings.Contains(s.Err, "no service or task is called nope") {
		f.t.Errorf("stats of nothing: exit %d, %q", s.Code, s.Err)
	}
	f.remove("busy")
	f.remove("idle")
}
