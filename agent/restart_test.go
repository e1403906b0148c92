package agent

import (
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestPolicy(t *testing.T) {
	type end struct {
		after  time.Duration // since the end before
		ran    time.Duration
		failed bool
		delay  time.Duration
		again  bool
	}
	const s = time.Second
	three, window, long, zero := uint64(3), 30*s, time.Hour, time.Duration(0)
	for name, c := range map[string]struct {
		policy *api.RestartPolicy
		ends   []end
	}{
		"default":             {nil, []end{{0, s, true, 5 * s, true}, {0, s, false, 5 * s, true}, {0, s, true, 5 * s, true}}},
		"streak":              {nil, []end{{0, s, true, 5 * s, true}, {0, s, true, 10 * s, true}, {0, 10 * s, true, 5 * s, true}, {0, s, true, 10 * s, true}}},
		"success begins anew": {nil, []end{{0, s, true, 5 * s, true}, {0, s, true, 10 * s, true}, {0, s, false, 5 * s, true}, {0, s, true, 5 * s, true}}},
		"no delay":            {&api.RestartPolicy{Delay: &zero}, []end{{0, 0, true, 0, true}, {0, 0, true, 2 * s, true}, {0, 0, true, 4 * s, true}}},
		"long delay is kept":  {&api.RestartPolicy{Delay: &long}, []end{{0, 0, true, long, true}, {0, 0, true, long, true}}},
		"none":                {&api.RestartPolicy{Condition: api.RestartNone}, []end{{0, s, true, 0, false}, {0, s, false, 0, false}}},
		"on failure":          {&api.RestartPolicy{Condition: api.RestartOnFailure}, []end{{0, s, true, 5 * s, true}, {0, s, false, 0, false}}},
		"at most": {&api.RestartPolicy{MaxAttempts: &three}, []end{
			{0, s, true, 5 * s, true}, {long, s, true, 5 * s, true}, {long, s, false, 5 * s, true}, {long, s, true, 0, false},
		}},
		"at most in a window": {&api.RestartPolicy{MaxAttempts: &three, Window: &window}, []end{
			{0, s, true, 5 * s, true}, {10 * s, s, true, 5 * s, true}, {10 * s, s, true, 5 * s, true}, {20 * s, s, true, 5 * s, true}, {s, s, true, 5 * s, true}, {s, s, true, 0, false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var h history
			now := time.Now()
			p := policyOf(c.policy)
			for i, e := range c.ends {
				now = now.Add(e.after)
				if delay, again := p.next(&h, e.failed, e.ran, now); delay != e.delay || again != e.again {
					t.Fatalf("end %d: %v, %v; want %v, %v", i+1, delay, again, e.delay, e.again)
				}
			}
		})
	}
}

func TestBackoffStaysInBounds(t *testing.T) {
	for _, jitter := range []float64{0, 0.5, 1} {
		b := backoff{first: 150 * time.Millisecond, most: 5 * time.Second}
		if d := b.next(jitter); d < 75*time.Millisecond || d > 150*time.Millisecond {
			t.Errorf("first wait %v", d)
		}
		for range 100 {
			if d := b.next(jitter); d < 75*time.Millisecond || d > 5*time.Second {
				t.Errorf("wait %v", d)
			}
		}
		if d := b.next(jitter); d < 2500*time.Millisecond {
			t.Errorf("last wait %v", d)
		}
	}
}
