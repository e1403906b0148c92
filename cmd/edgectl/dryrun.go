package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func registerDryRun(fs *pflag.FlagSet, dryRun *bool) {
	fs.BoolVar(dryRun, "dry-run", false, "change nothing: print which tasks would change, where, and why")
}

// stepRow is a line of a plan.
type stepRow struct{ Task, Wave, Action, From, To, Why string }

var stepHeader = stepRow{"TASK", "WAVE", "ACTION", "FROM", "TO", "WHY"}

const stepTable = `{{.Task}}\t{{.Wave}}\t{{.Action}}\t{{.From}}\t{{.To}}\t{{.Why}}`

// forecast prints what a change would do.
func (c *cli) forecast(ctx context.Context, node *client.Client, r *api.ForecastServiceRequest) error {
	if r.Create != nil && r.Create.Name == "" {
		r.Create.Name = randomName()
	}
	plan, err := node.Control().ForecastService(ctx, r)
	if err != nil {
		return err
	}
	c.warn(plan.Notes)
	var rows []stepRow
	for _, s := range plan.Steps {
		row := stepRow{Task: s.Task, Wave: "-", Action: string(s.Action), From: s.From, To: s.To, Why: s.Why}
		if s.Wave > 0 {
			row.Wave = fmt.Sprint(s.Wave)
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		if err := output.Rows(c.out, "", stepTable, stepHeader, rows); err != nil {
			return err
		}
	}
	fmt.Fprintln(c.out, planSummary(plan))
	return nil
}

func planSummary(p *api.ForecastServiceResponse) string {
	count := map[api.ForecastAction]int{}
	for _, s := range p.Steps {
		count[s.Action]++
	}
	text := fmt.Sprintf("dry run: %d to start, %d to replace, %d to move, %d to stop, %d that no node can take", count[api.ForecastStart],
		p.Replaced, count[api.ForecastMove], count[api.ForecastStop], count[api.ForecastWait])
	switch u := p.Config; {
	case p.Waves == 1:
		text += "; in 1 wave"
	case p.Waves > 1:
		text += fmt.Sprintf("; in %d waves of at most %d, %v apart, %s", p.Waves, u.Parallelism, u.Delay, u.Order)
	}
	return text + "; nothing was changed"
}
