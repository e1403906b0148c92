package bench

import (
	"strings"
	"testing"
)

func TestFigureJudges(t *testing.T) {
	for _, c := range []struct {
		name   string
		figure Figure
		ok     bool
	}{
		{"no limit", Figure{Values: []float64{9}}, true},
		{"at the limit", Figure{Values: []float64{2}, Bounded: true, Limit: 2}, true},
		{"strictly at the limit", Figure{Values: []float64{2}, Bounded: true, Limit: 2, Strict: true}, false},
		{"nothing allowed", Figure{Values: []float64{0, 1}, Bounded: true, Worst: true}, false},
		{"median below, worst above", Figure{Values: []float64{1, 1, 9}, Bounded: true, Limit: 2}, true},
		{"worst above", Figure{Values: []float64{1, 1, 9}, Bounded: true, Limit: 2, Worst: true}, false},
		{"even median", Figure{Values: []float64{4, 1, 3, 2}, Bounded: true, Limit: 2.5}, true},
		{"never measured", Figure{Bounded: true, Limit: 2}, false},
	} {
		if c.figure.OK() != c.ok {
			t.Errorf("%s: OK is %v", c.name, !c.ok)
		}
	}
}

func TestTableSaysWhatIsMissed(t *testing.T) {
	var out strings.Builder
	ok, err := Table(&out, []Figure{
		{Name: "fast", Unit: "s", Values: []float64{1, 2, 3}, Bounded: true, Limit: 2, Command: "make bench"},
		{Name: "slow", Unit: "s", Values: []float64{2.25}, Bounded: true, Limit: 2, Command: "make bench"},
	})
	if ok || err != nil {
		t.Errorf("ok %v, %v", ok, err)
	}
	for _, row := range []string{
		"| fast | s | 2 | 1 – 3 | 3 | ≤ 2 | met | `make bench` |",
		"| slow | s | 2.25 | 2.25 – 2.25 | 1 | ≤ 2 | **missed** | `make bench` |",
	} {
		if !strings.Contains(out.String(), row+"\n") {
			t.Errorf("no row %s in\n%s", row, out.String())
		}
	}
}
