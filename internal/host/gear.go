package host

import (
	"context"
	"runtime"
	"syscall"
	"time"
)

// When a process is taken for busy or for idle: shares of one core over the
// time between two looks.
const (
	busy = 0.20
	idle = 0.05
)

// How often an idle process is looked at, and a busy one: a start of work goes
// without the other cores for up to the first.
const (
	lookIdle = 2 * time.Second
	lookBusy = 15 * time.Second
)

// ShiftGears lets the Go runtime use one core while the process has next to
// nothing to do, and all that it was given while it works, until ctx ends. Go
// wakes a second thread for whatever the first leaves lying for a microsecond;
// for a board that answers a packet now and then, that is half of all its
// wake-ups and a seventh of its processor time.
//
// It returns when ctx ends, with all cores in use.
func ShiftGears(ctx context.Context) {
	cores := runtime.GOMAXPROCS(0)
	if cores == 1 {
		return
	}
	defer runtime.GOMAXPROCS(cores)
	g := gear{top: cores, now: cores}
	for last, used := time.Now(), processorTime(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(g.look()):
		}
		at, total := time.Now(), processorTime()
		if before := g.now; g.shift(float64(total-used)/float64(max(at.Sub(last), 1))) != before {
			runtime.GOMAXPROCS(g.now)
		}
		last, used = at, total
	}
}

// gear is how many cores a process may use.
type gear struct{ top, now int }

// look is how long to wait before the next look.
func (g *gear) look() time.Duration {
	if g.now == 1 {
		return lookIdle
	}
	return lookBusy
}

// shift takes the share of one core that was used since the last look.
func (g *gear) shift(share float64) int {
	switch {
	case share > busy:
		g.now = g.top
	case share < idle:
		g.now = 1
	}
	return g.now
}

// processorTime is what this process has used since its start.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it can't fail for one's own process
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
