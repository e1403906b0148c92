package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// eventRow is a line of `events`.
type eventRow struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	Scope    string `json:"scope"`
	TimeNano int64  `json:"timeNano"`
	Index    uint64
}

// events are those a board tells of behind an index.
func (f *fleet) events(board int, since uint64) ([]eventRow, error) {
	s := f.try(board, "events", "--since", fmt.Sprint(since), "--format", "json")
	if s.Code != 0 {
		return nil, fmt.Errorf("events: exit %d: %s", s.Code, s.Err)
	}
	return parseEvents(s.Out)
}

func parseEvents(text string) (list []eventRow, err error) {
	for line := range strings.Lines(text) {
		var r eventRow
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// background is an edgectl that goes on until it is ended.
type background struct {
	mu   sync.Mutex
	out  bytes.Buffer
	errs bytes.Buffer
	end  func() error
}

// Write takes in what edgectl prints.
func (w *background) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

// printed are the whole lines so far.
func (w *background) printed() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.out.String()
	return text[:strings.LastIndexByte(text, '\n')+1]
}

// begin runs edgectl on a board, until it is ended or the test is.
func (f *fleet) begin(board int, args ...string) *background {
	f.t.Helper()
	w := &background{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "edgectl"), append([]string{"--host", "unix://" + f.board(board).Socket()}, args...)...)
	cmd.Stdout, cmd.Stderr = w, &w.errs
	f.do(cmd.Start())
	w.end = sync.OnceValue(func() error { cancel(); return cmd.Wait() })
	f.t.Cleanup(func() { _ = w.end() }) // it is killed
	return w
}

// follower is a person who follows events.
type follower struct {
	*background
	f     *fleet
	since uint64
}

// followEvents begins with what happens from now on.
func (f *fleet) followEvents(board int) *follower {
	f.t.Helper()
	all, err := parseEvents(f.must(board, "events", "--format", "json"))
	if err != nil || len(all) == 0 {
		f.t.Fatalf("%d events: %v", len(all), err)
	}
	since := all[len(all)-1].Index
	return &follower{f.begin(board, "events", "-f", "--since", fmt.Sprint(since), "--format", "json"), f, since}
}

// sawAll waits until the follower has seen all that the fleet tells of, and
// ends it.
func (w *follower) sawAll(board int) []eventRow {
	f := w.f
	f.t.Helper()
	var seen []eventRow
	f.until("the follower has seen all events", soon, func() error {
		want, err := f.events(board, w.since)
		if err != nil {
			return err
		}
		if seen, err = parseEvents(w.printed()); err != nil {
			return err
		}
		brief := func(list []eventRow) (out []string) {
			for _, e := range list {
				out = append(out, fmt.Sprint(e.Index, " ", e.Type, " ", e.Action, " ", e.Actor.ID))
			}
			return out
		}
		if !slices.Equal(brief(seen), brief(want)) {
			return fmt.Errorf("saw\n%s\nand not\n%s", strings.Join(brief(seen), "\n"), strings.Join(brief(want), "\n"))
		}
		return nil
	})
	if err := w.end(); err == nil || strings.Contains(w.errs.String(), "gone") {
		f.t.Errorf("the follower ended by itself, or missed some: %v, %q", err, w.errs.String())
	}
	return seen
}

// happened looks for an event among others, in order behind the one found before.
type happened struct {
	f    *fleet
	list []eventRow
}

func (h *happened) then(kind, action string, attributes ...string) {
	h.f.t.Helper()
	for i, e := range h.list {
		fits := e.Type == kind && e.Action == action && e.Scope == "swarm" && time.Since(time.Unix(0, e.TimeNano)).Abs() < time.Hour
		for _, a := range attributes {
			key, value, _ := strings.Cut(a, "=")
			fits = fits && e.Actor.Attributes[key] == value
		}
		if fits {
			h.list = h.list[i+1:]
			return
		}
	}
	h.f.t.Errorf("no event %s %s %q follows, among %+v", kind, action, attributes, h.list)
}

// tellsWhatHappens: who follows events on one board sees what is done on another.
func (f *fleet) tellsWhatHappens() {
	w := f.followEvents(2)
	f.feed(1, []byte("s3cret"), "secret", "create", "watched")
	f.create("seen", "--constraint", "node.hostname==board1", "--restart-condition", "none", "--entrypoint", "sh", "web:1", "-c", "sleep 3; exit 3")
	f.until("it has run and failed", patient, func() error {
		list, err := f.events(1, w.since)
		for _, action := range []string{"running", "failed"} {
			if !slices.ContainsFunc(list, func(e eventRow) bool { return e.Action == action && e.Actor.Attributes["name"] == "seen.1" }) {
				err = errors.Join(err, fmt.Errorf("no %s in %+v", action, list))
			}
		}
		return err
	})
	f.must(1, "service", "update", "--detach", "--label-add", "a=b", "seen")
	f.must(1, "node", "update", "--label-add", "room=attic", "board2")
	f.remove("seen")
	f.must(1, "secret", "rm", "watched")
	h := happened{f, w.sawAll(2)}
	h.then("secret", "create", "name=watched")
	h.then("service", "create", "name=seen")
	h.then("task", "assigned", "name=seen.1", "node=board1")
	h.then("task", "running", "service=seen", "attempt=1")
	h.then("task", "failed", "exitCode=3", "node=board1")
	h.then("service", "update", "a=b")
	h.then("node", "update", "name=board2", "room=attic")
	h.then("service", "remove", "name=seen")
	h.then("secret", "remove", "name=watched")
	if s := f.try(1, "events", "--since", "999999"); s.Code != 1 || !strings.Contains(s.Err, "has not been reached") || strings.Count(s.Err, "\n") != 1 {
		f.t.Errorf("events of the future: exit %d, %q", s.Code, s.Err)
	}
}
