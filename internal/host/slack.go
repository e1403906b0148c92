package host

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// RelaxTimers lets the kernel wake this process up to slack later than a timer
// asks for, so that it may do it together with other work. Threads that are
// started later inherit it. The Go runtime watches over its threads by naps of
// 20 µs for as long as anything runs; on a board that does next to nothing
// those naps are a third of what it does.
//
// Slack is at least 1 ns. A kernel that lacks this (before 4.6) is an error,
// and nothing is lost but a little idle power.
func RelaxTimers(slack time.Duration) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("relax timers: %w", err)
	}
	value := []byte(strconv.FormatInt(int64(slack), 10))
	for _, thread := range threads {
		// Every thread has such a file, though only processes are listed in /proc.
		err := os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", value, 0)
		if err != nil && !os.IsNotExist(err) { // it may have ended
			return fmt.Errorf("relax timers: %w", err)
		}
	}
	return nil
}
