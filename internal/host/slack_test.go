package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRelaxTimersReachesEveryThread(t *testing.T) {
	if err := RelaxTimers(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads: %v", len(threads), err)
	}
	for _, thread := range threads {
		raw, err := os.ReadFile(filepath.Join("/proc", thread.Name(), "timerslack_ns"))
		if err != nil {
			continue // it has ended
		}
		if got := strings.TrimSpace(string(raw)); got != "1000000" {
			t.Errorf("thread %s has a slack of %s ns", thread.Name(), got)
		}
	}
}
