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

	mu    sync.Mutex
	floor time.Time // fleet time was at least this
	at    time.Time // when, on the monotonic clock
	saved time.Time
}

// openClock reads the time saved in the folder, if there is one.
func openClock(dir string, build time.Time) (*clock, error) {
	c := &clock{path: filepath.Join(dir, "clock"), floor: build, at: time.Now()}
	raw, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read saved time: %w", err)
	}
	saved, err := time.Parse(time.RFC3339, strings.TrimSpace(string(raw)))
	if err == nil && saved.After(c.floor) { // a damaged file is no worse than none
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
	wall := time.Now()
	if floor := c.floor.Add(wall.Sub(c.at)); floor.After(wall) {
		return floor.UTC().Round(0)
	}
	return wall.UTC().Round(0)
}

// Learn takes in the time that an authenticated leader gives.
func (c *clock) Learn(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now()) {
		c.floor, c.at = t, time.Now()
	}
}

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
