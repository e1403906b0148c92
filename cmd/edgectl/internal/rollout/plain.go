package rollout

import (
	"fmt"
	"io"

	"github.com/edgeswarm/edgeswarm/api"
)

// Printer shows a rollout as it goes.
type Printer interface {
	// Show shows a moment.
	Show(View)
	// Say shows a remark on the whole.
	Say(string)
}

// Plain prints each change as one line, and none twice.
type Plain struct {
	w     io.Writer
	steps map[string]Step
	last  string // overall line
	said  string
	state api.UpdateState
}

// NewPlain returns a printer for what is not a terminal.
func NewPlain(w io.Writer) *Plain { return &Plain{w: w, steps: map[string]Step{}} }

// Show implements Printer.
func (p *Plain) Show(v View) {
	if v.Update != nil && v.Update.State != p.state {
		p.state = v.Update.State
		if p.state == api.UpdateRollbackStarted {
			fmt.Fprintln(p.w, "rolling back: "+v.Update.Message)
		}
	}
	for _, s := range v.Steps {
		if s.State == "" || s.Task == "" || p.steps[s.Name] == s {
			continue
		}
		old := p.steps[s.Name]
		p.steps[s.Name] = s
		s.Key, old.Key = "", "" // a change of the total is not one of the task
		if s != old {
			fmt.Fprintln(p.w, s.Name+": "+s.words())
		}
	}
	if line := v.overall(); line != p.last {
		p.last = line
		fmt.Fprintln(p.w, line)
	}
}

// Say implements Printer.
func (p *Plain) Say(text string) {
	if text != p.said {
		p.said = text
		fmt.Fprintln(p.w, text)
	}
}

func (v View) overall() string {
	if v.Job {
		return fmt.Sprintf("job progress: %d out of %d complete", v.Running, v.Total)
	}
	return fmt.Sprintf("overall progress: %d out of %d tasks", v.Running, v.Total)
}

// words says what a task does, where, and what hinders it.
func (s Step) words() string {
	text := string(s.State)
	if s.Node != "" {
		text += " on " + s.Node
	}
	if s.Try > 1 {
		text += fmt.Sprintf(" (attempt %d)", s.Try)
	}
	if s.Err != "" {
		text += ": " + s.Err
	}
	return text
}
