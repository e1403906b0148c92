package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edgeswarm/edgeswarm/internal/host"
)

// clock is fleet time as this board knows it. A board without a clock battery
// wakes in 1970: its time is floored by the build, by the last time it saved,
// and by what its leader says. It never runs backwards while the program runs,
// and nothing is measured by it.
type clock struct {
	path string
	wall func() time.Time
	// jumped has 1 slot: fleet time turned out to be later than was thought.
	jumped chan struct{}

	mu    sync.Mutex
	floor time.Time // fleet time was at least this
	limit time.Time // no clock that is right says later
	at    time.Time // when, on the monotonic clock
	saved time.Time
}

// openClock reads the time saved in the folder, if there is one. Wall is the
// board's wall clock; nil is the system's.
func openClock(dir string, build time.Time, wall func() time.Time) (*clock, error) {
	if wall == nil {
		wall = time.Now
	}
	c := &clock{path: filepath.Join(dir, "clock"), wall: wall, jumped: make(chan struct{}, 1), floor: build, limit: build.Add(longestUse), at: time.Now()}
	raw, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read saved time: %w", err)
	}
	saved, err := time.Parse(time.RFC3339, strings.TrimSpace(string(raw)))
	if err == nil && saved.After(c.floor) && saved.Before(c.limit) { // a damaged file is no worse than none
		c.floor, c.saved = saved, saved
	}
	return c, nil
}

// Now is fleet time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *clock) now() time.Time {
	wall := c.wall()
	if floor := c.floor.Add(time.Since(c.at)); floor.After(wall) || wall.After(c.limit) {
		return floor.UTC().Round(0)
	}
	return wall.UTC().Round(0)
}

// Wall is what the board's own clock says, right or not.
func (c *clock) Wall() time.Time { return c.wall().UTC().Round(0) }

// longestUse is how long after it was built a program may believe a clock. One
// that says later is not right, and time that was once believed never goes
// back: certificates and tokens would be dated by it for ever.
const longestUse = 15 * 365 * 24 * time.Hour

// Learn takes in the time that an authenticated leader gives, unless it can't
// be true.
func (c *clock) Learn(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := t.Sub(c.now())
	if by <= 0 || t.After(c.limit) {
		return
	}
	c.floor, c.at = t, time.Now()
	if by < jump {
		return
	}
	select {
	case c.jumped <- struct{}{}:
	default:
	}
}

// jump is from where on a correction is worth telling.
const jump = 10 * time.Second

// Jumped receives after Learn has put the clock forward by much. It is for one
// receiver.
func (c *clock) Jumped() <-chan struct{} { return c.jumped }

// Save keeps the time for the next start. It is called when something else is
// written or the program ends, never on a timer: an idle board writes nothing.
func (c *clock) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now().Truncate(time.Second)
	if !now.After(c.saved) {
		return nil
	}
	if err := host.WriteFile(c.path, []byte(now.Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("save time: %w", err)
	}
	c.saved = now
	return nil
}
