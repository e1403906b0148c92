package main

import (
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestNextTryIsSaid(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	failed := api.TaskStatus{State: api.TaskFailed, Attempt: 4, Timestamp: at.Add(-20 * time.Second), NextTry: 40 * time.Second}
	for name, c := range map[string]struct {
		change  func(*api.TaskStatus)
		desired api.TaskState
		want    string
	}{
		"waits":               {func(*api.TaskStatus) {}, api.TaskRunning, "next try in 20s"},
		"due":                 {func(s *api.TaskStatus) { s.Timestamp = at.Add(-time.Minute) }, api.TaskRunning, "next try now"},
		"a clock that is off": {func(s *api.TaskStatus) { s.Timestamp = at.Add(time.Hour) }, api.TaskRunning, "next try in 40s"},
		"gives up":            {func(s *api.TaskStatus) { s.Exhausted, s.NextTry = true, 0 }, api.TaskRunning, ""},
		"another takes over":  {func(s *api.TaskStatus) { s.Exhausted = true }, api.TaskRunning, "next try in 20s"},
		"runs":                {func(s *api.TaskStatus) { s.State = api.TaskRunning }, api.TaskRunning, ""},
		"is to stop":          {func(*api.TaskStatus) {}, api.TaskShutdown, ""},
		"does not say":        {func(s *api.TaskStatus) { s.NextTry = 0 }, api.TaskRunning, ""},
	} {
		s := failed
		c.change(&s)
		if got := nextTry(&api.Task{Status: s, DesiredState: c.desired}, at); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
