package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// said is what a run of edgectl came to.
type said struct {
	out, err string
	code     int
}

// try runs edgectl on a board.
func (f *fleet) try(board int, args ...string) said { return f.feed(board, nil, args...) }

// feed runs edgectl on a board with standard input.
func (f *fleet) feed(board int, stdin []byte, args ...string) said {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "edgectl"), append([]string{"--host", "unix://" + f.board(board).Socket()}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return said{err: err.Error(), code: -1}
	}
	return said{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// must runs edgectl on a board and returns what it printed; a failure ends the test.
func (f *fleet) must(board int, args ...string) string {
	f.t.Helper()
	s := f.try(board, args...)
	if s.code != 0 {
		f.t.Fatalf("board%d: edgectl %s: exit %d: %s%s", board, strings.Join(args, " "), s.code, s.out, s.err)
	}
	return s.out
}

// nodeRow is a line of `node ls`.
type nodeRow struct {
	ID, Hostname, Status, Ails, Availability, ManagerStatus, Message, Role string

	Voter bool
}

// taskRow is a line of `service ps` and `node ps`.
type taskRow struct {
	ID, Name, Image, Node, DesiredState, CurrentState, Error, Ports string

	Attempt int
	History bool
}

// state is the first word of CurrentState; the rest says since when.
func (r taskRow) state() string {
	word, _, _ := strings.Cut(r.CurrentState, " ")
	return strings.ToLower(word)
}

// serviceRow is a line of `service ls`.
type serviceRow struct{ ID, Name, Mode, Replicas, Image, Ports string }

// rows asks a board for a list.
func rows[R any](f *fleet, board int, args ...string) ([]R, error) {
	s := f.try(board, append(args, "--no-trunc", "--format", "json")...)
	if s.code != 0 {
		return nil, fmt.Errorf("board%d: edgectl %s: exit %d: %s", board, strings.Join(args, " "), s.code, s.err)
	}
	var list []R
	for line := range strings.Lines(s.out) {
		var r R
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("edgectl %s printed %q: %w", strings.Join(args, " "), line, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// nodes is `node ls` by hostname.
func (f *fleet) nodes(board int) (map[string]nodeRow, error) {
	list, err := rows[nodeRow](f, board, "node", "ls")
	byName := map[string]nodeRow{}
	for _, r := range list {
		byName[r.Hostname] = r
	}
	return byName, err
}

// tasks is `service ps`.
func (f *fleet) tasks(board int, service string) ([]taskRow, error) {
	return rows[taskRow](f, board, "service", "ps", service)
}
