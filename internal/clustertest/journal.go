package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal keeps the latest of what the boards log, for a test that fails.
type journal struct {
	mu    sync.Mutex
	lines []string
	terms int // that any board has begun to lead
}

const journalSize = 600

func (j *journal) handler(board string) slog.Handler { return line{j: j, board: board} }

func (j *journal) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines = append(j.lines, text); len(j.lines) > 2*journalSize {
		j.lines = append([]string(nil), j.lines[journalSize:]...)
	}
}

func (j *journal) dump(t testing.TB) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t.Logf("what the boards said last:\n%s", strings.Join(j.lines, "\n"))
}

// line implements slog.Handler.
type line struct {
	j     *journal
	board string
	attrs string
}

func (l line) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }

func (l line) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s%s", r.Time.UTC().Format(time.TimeOnly+".000"), l.board, r.Level, r.Message, l.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	l.j.add(b.String())
	if r.Message == "leads the fleet" {
		l.j.mu.Lock()
		l.j.terms++
		l.j.mu.Unlock()
	}
	return nil
}

func (l line) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		l.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return l
}

func (l line) WithGroup(string) slog.Handler { return l }
