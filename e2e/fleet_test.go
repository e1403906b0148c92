package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/internal/lab"
	"github.com/edgeswarm/edgeswarm/internal/steer"
)

// Time limits, wide enough for a machine that does much else. What must be
// fast is measured by benchmarks.
const (
	soon    = 30 * time.Second // what needs no agreement and no time-out
	patient = 90 * time.Second // what waits for a board to be given up, or to be back
)

// fleet is a lab's boards, with the means to ask them as a person would.
type fleet struct {
	t    *testing.T
	lab  *lab.Lab
	name string // the lab's
	n    int
}

var labs atomic.Int32

// newFleet powers on boards that hold one fresh fleet key, or with key false
// nothing.
func newFleet(t *testing.T, boards int, key bool) *fleet {
	t.Helper()
	f := newLab(t, boards, key)
	f.do(f.lab.Up(t.Context(), boards))
	return f
}

// newLab prepares boards that are yet to be powered on, with more arguments for
// their edged. They are taken away when the test ends.
func newLab(t *testing.T, boards int, key bool, args ...string) *fleet {
	t.Helper()
	cfg := lab.Config{Name: fmt.Sprintf("%s%d%c", labPrefix, os.Getpid(), 'a'+labs.Add(1)-1), Bin: bin, Args: args}
	if key {
		cfg.FleetKey = identity.GenerateFleetKey().Reveal()
	}
	l, err := lab.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, lab: l, name: cfg.Name, n: boards}
	t.Cleanup(func() {
		if t.Failed() {
			f.printLogs()
		}
		if err := l.Down(context.Background()); err != nil {
			t.Errorf("take the lab down: %v", err)
		}
	})
	return f
}

// formed is newFleet once its boards are one fleet, with three voters where
// there are three boards.
func formed(t *testing.T, boards int) *fleet {
	t.Helper()
	f := newFleet(t, boards, true)
	f.whole(boards)
	return f
}

// part runs a part of a test on the same boards.
func (f *fleet) part(name string, run func(*fleet)) {
	f.t.Run(name, func(t *testing.T) {
		part := *f
		part.t = t
		run(&part)
	})
}

// printLogs prints the end of what each board's edged wrote.
func (f *fleet) printLogs() {
	for i := 1; i <= f.n; i++ {
		raw, err := os.ReadFile(f.board(i).LogFile("edged"))
		if err != nil {
			f.t.Logf("board%d has no log: %v", i, err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		f.t.Logf("edged of board%d:\n%s", i, strings.Join(lines[max(0, len(lines)-120):], "\n"))
	}
}

func (f *fleet) board(i int) lab.Board { return f.lab.Board(i) }

// until polls until ok, and ends the test with the last reason if it never is.
func (f *fleet) until(what string, limit time.Duration, ok func() error) {
	f.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-tick.C
	}
}

// do fails the test if something that the lab did went wrong.
func (f *fleet) do(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// whole waits until a fleet of so many boards is ready, and has all the voters
// that it should have.
func (f *fleet) whole(boards int) {
	f.t.Helper()
	voters := 1
	if boards >= 3 {
		voters = 3
	}
	f.ready(boards, voters)
}

// ready waits until each of so many boards sees all of them ready, and so many
// voters, one of which leads.
func (f *fleet) ready(boards, voters int) {
	f.t.Helper()
	for i := 1; i <= boards; i++ {
		f.until(fmt.Sprintf("board%d sees %d nodes, %d voters", i, boards, voters), patient, func() error {
			nodes, err := f.nodes(i)
			if err != nil {
				return err
			}
			ready, votes, leaders := 0, 0, 0
			for _, n := range nodes {
				if n.Status == "Ready" {
					ready++
				}
				if n.ManagerStatus == "Leader" {
					leaders++
				}
				if n.Voter && (n.ManagerStatus == "Leader" || n.ManagerStatus == "Reachable") {
					votes++
				}
			}
			if len(nodes) != boards || ready != boards || votes != voters || leaders != 1 {
				return fmt.Errorf("node ls: %+v", nodes)
			}
			return nil
		})
	}
}

// leader is the index of the leading board, as a board sees it.
func (f *fleet) leader(asked int) int {
	f.t.Helper()
	lead := 0
	f.until("a leader", soon, func() error {
		nodes, err := f.nodes(asked)
		for name, n := range nodes {
			if n.ManagerStatus == "Leader" {
				lead = index(name)
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("none leads: %+v", nodes))
	})
	return lead
}

// index is a board's, from its hostname.
func index(hostname string) int {
	i, _ := strconv.Atoi(strings.TrimPrefix(hostname, "board"))
	return i
}

// other is the first board that is none of those.
func (f *fleet) other(not ...int) int {
	for i := 1; ; i++ {
		if !slices.Contains(not, i) {
			return i
		}
	}
}

// load puts the images web:VERSION into the fleet.
func (f *fleet) load(board int, versions ...string) {
	f.t.Helper()
	for _, v := range versions {
		s := f.feed(board, webImage(f.t, v), "image", "load", "--quiet")
		if s.Code != 0 {
			f.t.Fatalf("load web:%s: %s", v, s.Err)
		}
	}
}

// webImage is the archive of web:VERSION.
func webImage(t *testing.T, version string) []byte {
	t.Helper()
	var archive bytes.Buffer
	if err := lab.WebImage(&archive, bin, version, host.Platform().Architecture); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// runs waits until exactly n tasks of a service run, by the fleet's word, and
// returns them.
func (f *fleet) runs(asked int, service string, n int) []taskRow {
	f.t.Helper()
	var running []taskRow
	f.until(fmt.Sprintf("%s runs %d tasks", service, n), patient, func() error {
		tasks, err := f.tasks(asked, service)
		if err != nil {
			return err
		}
		running, err = steer.Running(tasks, n)
		return err
	})
	return running
}
