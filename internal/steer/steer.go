// Package steer is how tests of whole fleets ask a board: by edgectl, as a person
// would, and by the rows that it prints. What a fleet should be, and how boards
// are made, it does not know.
package steer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// patience bounds a run of edgectl.
const patience = 2 * time.Minute

// Edgectl runs edgectl on one board.
type Edgectl struct {
	Program string // path of edgectl
	Socket  string // of the board's edged
	// Patience is how long a run may take; 0 is two minutes.
	Patience time.Duration
}

// Said is what a run of edgectl came to.
type Said struct {
	Out, Err string
	Code     int // -1 if it was not run to its end
}

// Try runs edgectl with standard input, which may be nil.
func (e Edgectl) Try(stdin []byte, args ...string) Said {
	limit := e.Patience
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, e.Program, append([]string{"--host", "unix://" + e.Socket}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Said{Err: err.Error(), Code: -1}
	}
	return Said{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// Node is a line of `node ls`.
type Node struct {
	ID, Hostname, Status, Ails, Availability, ManagerStatus, Message, Role string

	Voter bool
}

// Task is a line of `service ps` and `node ps`.
type Task struct {
	ID, Name, Image, Node, DesiredState, CurrentState, Error, Ports string

	Attempt int
	History bool
}

// State is the first word of CurrentState; the rest says since when.
func (t Task) State() string {
	word, _, _ := strings.Cut(t.CurrentState, " ")
	return strings.ToLower(word)
}

// Service is a line of `service ls`.
type Service struct{ ID, Name, Mode, Replicas, Image, Ports string }

// Rows asks a board for a list.
func Rows[R any](e Edgectl, args ...string) ([]R, error) {
	s := e.Try(nil, append(args, "--no-trunc", "--format", "json")...)
	if s.Code != 0 {
		return nil, fmt.Errorf("edgectl %s: exit %d: %s", strings.Join(args, " "), s.Code, s.Err)
	}
	var list []R
	for line := range strings.Lines(s.Out) {
		var r R
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("edgectl %s printed %q: %w", strings.Join(args, " "), line, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// Nodes is `node ls` by hostname.
func (e Edgectl) Nodes() (map[string]Node, error) {
	list, err := Rows[Node](e, "node", "ls")
	byName := map[string]Node{}
	for _, r := range list {
		byName[r.Hostname] = r
	}
	return byName, err
}

// Tasks is `service ps`.
func (e Edgectl) Tasks(service string) ([]Task, error) {
	return Rows[Task](e, "service", "ps", service)
}

// Running are the tasks that run, if they are exactly n and no other is to.
func Running(tasks []Task, n int) (running []Task, err error) {
	settled := true
	for _, r := range tasks {
		switch {
		case r.State() == "running" && r.DesiredState == "Running":
			running = append(running, r)
		case r.DesiredState == "Running":
			settled = false
		}
	}
	if len(running) != n || !settled {
		return nil, fmt.Errorf("%d run: %s", len(running), Table(tasks))
	}
	return running, nil
}

// Table is tasks, one a line, for messages.
func Table(tasks []Task) string {
	var b strings.Builder
	for _, r := range tasks {
		fmt.Fprintf(&b, "\n  %s %s on %s: wanted %s, is %s, attempt %d %s", r.ID, r.Name, r.Node, r.DesiredState, r.CurrentState, r.Attempt, r.Error)
	}
	return b.String()
}
