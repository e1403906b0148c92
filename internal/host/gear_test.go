package host

import (
	"context"
	"runtime"
	"testing"
)

func TestGearFollowsTheLoad(t *testing.T) {
	g := gear{top: 4, now: 4}
	for i, step := range []struct {
		share float64
		want  int
	}{
		{0.10, 4}, // neither: it stays
		{0.01, 1},
		{0.10, 1},
		{0.19, 1},
		{0.21, 4}, // one core is all that one gear has: more shows only in another
		{3.50, 4},
		{0.06, 4},
		{0.00, 1},
	} {
		if got := g.shift(step.share); got != step.want {
			t.Errorf("step %d: %d cores at %.2f, want %d", i, got, step.share, step.want)
		}
		if idle := g.now == 1; (g.look() == lookIdle) != idle {
			t.Errorf("step %d: looks again after %v with %d cores", i, g.look(), g.now)
		}
	}
}

func TestGearsEndAtTheTop(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ShiftGears(ctx)
	if got := runtime.GOMAXPROCS(0); got != 3 {
		t.Errorf("%d cores after it ended, want 3", got)
	}
}
