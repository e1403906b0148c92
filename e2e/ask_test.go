package e2e

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// What edgectl says.
type (
	said       = steer.Said
	nodeRow    = steer.Node
	taskRow    = steer.Task
	serviceRow = steer.Service
)

// edgectl is edgectl on a board.
func (f *fleet) edgectl(board int) steer.Edgectl {
	return steer.Edgectl{Program: filepath.Join(bin, "edgectl"), Socket: f.board(board).Socket()}
}

// try runs edgectl on a board.
func (f *fleet) try(board int, args ...string) said { return f.feed(board, nil, args...) }

// feed runs edgectl on a board with standard input.
func (f *fleet) feed(board int, stdin []byte, args ...string) said {
	return f.edgectl(board).Try(stdin, args...)
}

// must runs edgectl on a board and returns what it printed; a failure ends the test.
func (f *fleet) must(board int, args ...string) string {
	f.t.Helper()
	s := f.try(board, args...)
	if s.Code != 0 {
		f.t.Fatalf("board%d: edgectl %s: exit %d: %s%s", board, strings.Join(args, " "), s.Code, s.Out, s.Err)
	}
	return s.Out
}

// rows asks a board for a list.
func rows[R any](f *fleet, board int, args ...string) ([]R, error) {
	list, err := steer.Rows[R](f.edgectl(board), args...)
	if err != nil {
		err = fmt.Errorf("board%d: %w", board, err)
	}
	return list, err
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
