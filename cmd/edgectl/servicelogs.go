package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// logFlags say what each line begins with.
type logFlags struct {
	timestamps, noTaskIDs, noTrunc, raw, noResolve bool
}

func newServiceLogs(c *cli) *cobra.Command {
	req := api.LogsRequest{}
	var show logFlags
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] SERVICE|TASK",
		Short: "Print what the tasks of a service wrote",
		Example: `  edgectl service logs -f --tail 20 web
  edgectl service logs --since 10m -t web.2`,
		Args: needArgs(1, 1), ValidArgsFunction: c.completeServices,
	}
	tail, since := registerLogFlags(cmd.Flags(), &req, &show)
	cmd.RunE = c.with(func(ctx context.Context, node *client.Client, args []string) error {
		req.Tail, req.Since = tail.Or(-1), since.Or(time.Time{})
		if err := nameLogs(ctx, node, args[0], &req); err != nil {
			return err
		}
		return c.logs(ctx, node, &req, show)
	})
	return cmd
}

// registerLogFlags adds the flags of all commands that print lines.
func registerLogFlags(fs *pflag.FlagSet, req *api.LogsRequest, show *logFlags) (tail *flagvalue.Opt[int], since *flagvalue.Opt[time.Time]) {
	tail = flagvalue.New(parseTail, "number|all")
	since = flagvalue.New(parseSince, "time|duration")
	fs.BoolVarP(&req.Follow, "follow", "f", false, "go on printing what is written")
	fs.VarP(tail, "tail", "n", "only the last lines of each task (default all)")
	fs.Var(since, "since", "only lines since a time (2026-01-02T15:04:05Z) or a while ago (10m)")
	fs.BoolVarP(&show.timestamps, "timestamps", "t", false, "begin each line with its time")
	fs.BoolVar(&show.noTaskIDs, "no-task-ids", false, "leave the tasks' IDs out")
	fs.BoolVar(&show.noTrunc, "no-trunc", false, "print IDs whole")
	fs.BoolVar(&show.noResolve, "no-resolve", false, "print nodes' IDs instead of names")
	fs.BoolVar(&show.raw, "raw", false, "print the lines as they were written")
	return tail, since
}

func parseTail(s string) (int, error) {
	if s == "all" {
		return -1, nil
	}
	n, err := flagvalue.Count(s)
	return int(n), err
}

// parseSince reads a time, a day, Unix seconds, or how long ago.
func parseSince(s string) (time.Time, error) {
	if d, err := flagvalue.Duration(s); err == nil {
		return now().Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 {
		return time.Unix(0, int64(f*1e9)), nil
	}
	return time.Time{}, errors.New("it is neither a time nor a duration: give one such as 2026-01-02T15:04:05Z or 10m")
}

// nameLogs finds out whether a service or a task is meant.
func nameLogs(ctx context.Context, node *client.Client, ref string, req *api.LogsRequest) error {
	service, err := node.Control().GetService(ctx, &api.GetServiceRequest{Service: ref})
	if err == nil {
		req.Service = string(service.Service.ID)
		return nil
	}
	if api.KindOf(err) != api.NotFound {
		return err
	}
	task, terr := node.Control().GetTask(ctx, &api.GetTaskRequest{Task: ref})
	if api.KindOf(terr) == api.NotFound {
		return api.Errorf(api.NotFound, "", "no service or task is called %s: see edgectl service ls", ref)
	}
	if terr != nil {
		return terr
	}
	req.Task = string(task.Task.ID)
	return nil
}

func (c *cli) logs(ctx context.Context, node *client.Client, req *api.LogsRequest, show logFlags) error {
	names := map[api.NodeID]string{}
	if !show.noResolve && !show.raw {
		var err error
		if names, err = nodeNames(ctx, node); err != nil {
			return err
		}
	}
	stream, err := node.Board().Logs(ctx, req)
	if err != nil {
		return err
	}
	p := logPrinter{out: c.out, err: c.err, show: show, names: names}
	for {
		line, err := stream.Recv()
		switch {
		case err == io.EOF:
			return p.end()
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return errors.Join(p.end(), err)
		}
		if err := p.print(line); err != nil {
			return err
		}
	}
}

// logPrinter prints lines of many tasks, their beginnings in one width.
type logPrinter struct {
	out, err io.Writer
	show     logFlags
	names    map[api.NodeID]string
	width    int
	// open is the stream of the last piece of a line that is not at its end.
	open *logSource
}

// logSource is where a piece of a line came from.
type logSource struct {
	task   api.TaskID
	stream string
}

func (p *logPrinter) writer(stream string) io.Writer {
	if stream == "stderr" {
		return p.err
	}
	return p.out
}

func (p *logPrinter) print(l *api.LogLine) error {
	from := logSource{l.TaskID, l.Stream}
	text := string(l.Data)
	if p.open == nil || *p.open != from {
		if err := p.end(); err != nil { // another's piece waits for its rest
			return err
		}
		text = p.prefix(l) + text
	}
	p.open = &from
	if !l.Partial {
		text += "\n"
		p.open = nil
	}
	_, err := io.WriteString(p.writer(l.Stream), text)
	return err
}

// end closes a line that was left open.
func (p *logPrinter) end() error {
	if p.open == nil {
		return nil
	}
	_, err := io.WriteString(p.writer(p.open.stream), "\n")
	p.open = nil
	return err
}

func (p *logPrinter) prefix(l *api.LogLine) string {
	text := ""
	if p.show.timestamps {
		text = l.Time.UTC().Format(time.RFC3339Nano) + " "
	}
	if p.show.raw {
		return text
	}
	id := func(s string) string {
		if p.show.noTrunc {
			return s
		}
		return api.ShortID(s)
	}
	who := output.Safe(l.Service)
	if l.Slot > 0 {
		who = fmt.Sprintf("%s.%d", who, l.Slot)
	}
	if !p.show.noTaskIDs {
		who += "." + id(string(l.TaskID))
	}
	at := p.names[l.NodeID]
	if at == "" {
		at = id(string(l.NodeID))
	}
	who += "@" + at
	p.width = max(p.width, len(who))
	return text + who + strings.Repeat(" ", p.width-len(who)) + "    | "
}
