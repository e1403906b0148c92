package rollout

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/edgeswarm/edgeswarm/api"
)

// What a terminal shows at most, and how wide a bar is.
const (
	maxSteps = 20
	barWidth = 40
)

// order is how far along the bar each state stands.
var order = []api.TaskState{api.TaskNew, api.TaskPending, api.TaskAssigned, api.TaskPreparing, api.TaskReady, api.TaskStarting, api.TaskRunning}

// Terminal redraws a block of lines: the whole, and a bar for each task.
type Terminal struct {
	w    io.Writer
	size func() (width, height int)
	view *View
	said string
	rows int // drawn last
}

// NewTerminal returns a printer for a terminal, whose size it asks before each
// drawing.
func NewTerminal(w io.Writer, size func() (width, height int)) *Terminal {
	return &Terminal{w: w, size: size}
}

// Show implements Printer.
func (t *Terminal) Show(v View) {
	t.view = &v
	t.draw()
}

// Say implements Printer.
func (t *Terminal) Say(text string) {
	t.said = text
	t.draw()
}

func (t *Terminal) draw() {
	width, height := t.size()
	var out strings.Builder
	if t.rows > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", t.rows)
	}
	lines := t.lines(max(height-3, 1))
	for _, line := range lines {
		out.WriteString(fit(line, width))
		out.WriteByte('\n')
	}
	t.rows = len(lines)
	_, _ = io.WriteString(t.w, out.String()) // a terminal that is gone ends the program elsewhere
}

func (t *Terminal) lines(room int) []string {
	var lines []string
	if t.view != nil {
		lines = append(lines, t.view.overall())
		steps, hidden := visible(t.view.Steps, min(room, maxSteps))
		width := 0
		for _, s := range steps {
			width = max(width, len(s.Key))
		}
		for _, s := range steps {
			lines = append(lines, s.bar(width))
		}
		if hidden > 0 {
			lines = append(lines, fmt.Sprintf("… and %d more", hidden))
		}
		if u := t.view.Update; u != nil && u.State == api.UpdateRollbackStarted {
			lines = append(lines, "rolling back: "+u.Message)
		}
	}
	if t.said != "" {
		lines = append(lines, t.said)
	}
	return lines
}

// visible picks the steps there is room for: those under way first.
func visible(steps []Step, room int) (shown []Step, hidden int) {
	if len(steps) <= room {
		return steps, 0
	}
	for _, done := range []bool{false, true} {
		for _, s := range steps {
			if s.Done == done && len(shown) < room-1 {
				shown = append(shown, s)
			}
		}
	}
	return shown, len(steps) - len(shown)
}

func (s Step) bar(keyWidth int) string {
	state, filled := string(s.State), 0
	for i, o := range order {
		if o == s.State {
			filled = (i + 1) * barWidth / len(order)
		}
	}
	switch {
	case s.State == "":
		state = "waiting"
	case s.State.Ended():
		filled = barWidth
	}
	head := ">"
	if filled == 0 {
		head = ""
	}
	line := fmt.Sprintf("%*s: %-9s [%-*s]", keyWidth, s.Key, state, barWidth, strings.Repeat("=", max(filled-1, 0))+head)
	if s.Node != "" {
		line += " " + s.Node
	}
	if s.Try > 1 {
		line += fmt.Sprintf(" (attempt %d)", s.Try)
	}
	if s.Err != "" {
		line += " " + s.Err
	}
	return line
}

// fit cuts a line so that it does not wrap, and replaces what could move the
// cursor.
func fit(line string, width int) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, line)
	if width > 1 && utf8.RuneCountInString(line) >= width {
		return string([]rune(line)[:width-2]) + "…"
	}
	return line
}
