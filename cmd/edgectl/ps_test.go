package main

import (
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// TestATaskThatDoesNotRunSaysWhatItWaitsFor, at whichever step it is held up;
// one that runs has nothing to explain.
func TestATaskThatDoesNotRunSaysWhatItWaitsFor(t *testing.T) {
	for state, want := range map[api.TaskState]string{
		api.TaskPending: "no room", api.TaskPreparing: "no room", api.TaskStarting: "no room", api.TaskRejected: "no room",
		api.TaskRunning: "", api.TaskShutdown: "",
	} {
		task := &api.Task{ID: "t", Status: api.TaskStatus{State: state, Message: "no room"}}
		if row := newTaskRow(task, nil, &listFlags{}); row.Error != want {
			t.Errorf("%s: %q, want %q", state, row.Error, want)
		}
	}
	task := &api.Task{ID: "t", Status: api.TaskStatus{State: api.TaskPreparing, Message: "tries again", Err: "exit 1"}}
	if row := newTaskRow(task, nil, &listFlags{}); row.Error != "exit 1" {
		t.Errorf("an error gives way to a message: %q", row.Error)
	}
}
