package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// statsPeriod is the time between two looks, as in Docker.
const statsPeriod = time.Second

func newTaskStats(c *cli) *cobra.Command {
	var l listFlags
	var all, once bool
	cmd := &cobra.Command{
		Use:   "stats [OPTIONS] [TASK|SERVICE...]",
		Short: "Show what tasks take of their boards",
		Long: `Show what tasks take of their boards, again every second: those that are named
or of the services that are named, else all that run. A share of the CPU is one
of a single core: a task that keeps two busy has 200%. A dash stands for what
is not known, as when nothing of the task runs.`,
		Example: `  edgectl task stats
  edgectl task stats --no-stream web
  edgectl task stats --no-stream --format json web.1`,
		Args: needArgs(0, -1), ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, node *client.Client, args []string) error {
			s := stats{node: node, req: &api.UsageRequest{Of: args, All: all}, flags: &l, out: c.out, err: c.err, told: map[string]bool{}}
			if !once && (l.format == "" || strings.HasPrefix(l.format, output.Table)) {
				s.screen = terminal(c.out)
			}
			return s.run(ctx, once)
		}),
	}
	fs := cmd.Flags()
	registerFormat(fs, &l.format, "")
	fs.BoolVarP(&all, "all", "a", false, "also tasks of which nothing runs")
	fs.BoolVar(&once, "no-stream", false, "show it once")
	fs.BoolVar(&l.noTrunc, "no-trunc", false, "print IDs whole")
	return cmd
}

// statsRow is a line of `task stats`, in Docker's names.
type statsRow struct{ Container, ID, Name, Node, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string }

var statsHeader = statsRow{
	Container: "TASK", ID: "TASK ID", Name: "NAME", Node: "NODE", CPUPerc: "CPU %", MemUsage: "MEM USAGE / LIMIT", MemPerc: "MEM %",
	NetIO: "NET I/O", BlockIO: "BLOCK I/O", PIDs: "PIDS",
}

const statsTable = `{{.ID}}\t{{.Name}}\t{{.Node}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`

// stats shows what tasks use, time and again.
type stats struct {
	node     *client.Client
	req      *api.UsageRequest
	flags    *listFlags
	out, err io.Writer
	screen   *os.File             // to redraw on; nil to print
	last     map[string]api.Usage // by container
	told     map[string]bool      // of which silent boards, when not on a screen
}

// run looks until ctx ends, or twice: a rate takes two moments.
func (s *stats) run(ctx context.Context, once bool) error {
	tick := time.NewTicker(statsPeriod)
	defer tick.Stop()
	for first := true; ; first = false {
		resp, err := s.node.Board().Usage(ctx, s.req)
		if err != nil {
			return err
		}
		rows := s.rows(resp.Tasks)
		if !first || s.screen != nil {
			if err := s.show(rows, resp.Silent, first); err != nil {
				return err
			}
			if once {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rows renders tasks and keeps what the next rates are made of.
func (s *stats) rows(tasks []api.TaskUsage) []statsRow {
	rows, seen := make([]statsRow, 0, len(tasks)), make(map[string]api.Usage, len(tasks))
	for _, t := range tasks {
		const unknown = "--"
		name := fmt.Sprintf("%s.%d", t.ServiceName, t.Slot)
		if t.Slot == 0 {
			name = t.ServiceName + "." + string(t.NodeID)
		}
		row := statsRow{
			Container: output.Safe(name), ID: s.flags.id(string(t.ID)), Name: output.Safe(name), Node: output.Safe(t.NodeName),
			CPUPerc: unknown, MemUsage: "-- / --", MemPerc: unknown, NetIO: "-- / --", BlockIO: "-- / --", PIDs: unknown,
		}
		if u := t.Usage; u != nil {
			seen[t.Status.ContainerID] = *u
			if before, ok := s.last[t.Status.ContainerID]; ok {
				if percent, known := api.CPUPercent(before, *u); known {
					row.CPUPerc = percentage(percent)
				}
			}
			row.memory(u)
			row.NetIO = decimalSize(u.NetReceived) + " / " + decimalSize(u.NetSent)
			row.BlockIO = decimalSize(u.BlockRead) + " / " + decimalSize(u.BlockWritten)
			if u.Pids >= 0 {
				row.PIDs = strconv.FormatInt(u.Pids, 10)
			}
		}
		rows = append(rows, row)
	}
	s.last = seen
	return rows
}

func (r *statsRow) memory(u *api.Usage) {
	if u.Memory < 0 {
		return
	}
	limit := "--"
	if u.MemoryLimit > 0 {
		limit = binarySize(u.MemoryLimit)
		r.MemPerc = percentage(100 * float64(u.Memory) / float64(u.MemoryLimit))
	}
	r.MemUsage = binarySize(u.Memory) + " / " + limit
}

func (s *stats) show(rows []statsRow, silent []api.SilentBoard, first bool) error {
	var text bytes.Buffer
	if err := output.Rows(&text, s.flags.format, statsTable, statsHeader, rows); err != nil {
		return err
	}
	if s.screen != nil {
		for _, b := range silent {
			fmt.Fprintln(&text, silence(b))
		}
		return s.draw(text.String(), first)
	}
	for _, b := range silent {
		if line := silence(b); !s.told[line] {
			s.told[line] = true
			fmt.Fprintln(s.err, line)
		}
	}
	_, err := s.out.Write(text.Bytes())
	return err
}

// draw puts text in place of what the screen shows, as much as it has room for.
func (s *stats) draw(text string, first bool) error {
	width, height := terminalSize(s.screen)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	rows := func(lines int, line string) int { return lines + max(1, (utf8.RuneCountInString(line)+width-1)/width) }
	taken, shown := 0, 0
	for ; shown < len(lines) && rows(taken, lines[shown]) < height-1; shown++ {
		taken = rows(taken, lines[shown])
	}
	if hidden := len(lines) - shown; hidden > 0 {
		lines = append(lines[:shown:shown], fmt.Sprintf("… and %d more", hidden))
	}
	var out strings.Builder
	if first {
		out.WriteString("\x1b[2J")
	}
	out.WriteString("\x1b[H")
	for _, line := range lines {
		out.WriteString(line + "\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	_, err := io.WriteString(s.out, out.String())
	return err
}

func silence(b api.SilentBoard) string {
	name := b.NodeName
	if name == "" {
		name = api.ShortID(b.NodeID)
	}
	return fmt.Sprintf("%s tells nothing of its tasks: %s", output.Safe(name), output.Safe(b.Err))
}

func percentage(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }

// binarySize and decimalSize say sizes as Docker's stats do.
func binarySize(n int64) string {
	return size(float64(n), 1024, 4, "B", "KiB", "MiB", "GiB", "TiB")
}

func decimalSize(n int64) string { return size(float64(n), 1000, 3, "B", "kB", "MB", "GB", "TB") }

func size(n, step float64, digits int, units ...string) string {
	i := 0
	for n >= step-0.5 && i < len(units)-1 { // what would be rounded up to it, too
		n, i = n/step, i+1
	}
	return fmt.Sprintf("%.*g%s", digits, n, units[i])
}
