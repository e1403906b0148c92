package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

func newEvents(c *cli) *cobra.Command {
	var follow bool
	var format string
	since := flagvalue.New(parseEventsFrom, "index|time|duration")
	until := flagvalue.New(parseSince, "time|duration")
	filter := newFilter("type", "action", "event", "id", "name", "service", "node", "label")
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Show what became of services, tasks, nodes, images, secrets and configs",
		Long: `Show what became of services, tasks, nodes, images, secrets and configs: what
the fleet still keeps of it, and with --follow what happens from now on. Each
event has the index of the fleet's log at which it happened: who goes on with
--since INDEX, on any board, misses none. A change of leader is not noticed.
What a task comes to is told when the fleet has noted it, up to 5 seconds later,
and without what it passed through meanwhile; restarts in place are the board's
own affair, and no events.

The fleet keeps the latest 1024 changes of its log, less after its managers
were restarted. If some of those that --since INDEX asks for are gone, it says
so and fails; for a time it says so, and shows those there are.`,
		Example: `  edgectl events --since 10m
  edgectl events -f --filter type=node --filter service=web
  edgectl events -f --since 4711 --format json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && strings.Contains(args[0], "=") { // Docker's -f is its --filter
				return usageErrorf("%s takes no argument %q; for a filter write --filter %[2]s, since -f is --follow", cmd.CommandPath(), args[0])
			}
			return noArgs(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&follow, "follow", "f", false, "go on with what happens; without --since, from now on")
	fs.Var(since, "since", "only events behind an index, or since a time (2026-01-02T15:04:05Z) or a while ago (10m)")
	fs.Var(until, "until", "only events until a time or a while ago; with --follow, end then")
	fs.Var(filter, "filter", filter.usage())
	registerFormat(fs, &format, "")
	cmd.RunE = c.with(func(ctx context.Context, node *client.Client, _ []string) error {
		p, err := newEventPrinter(c.out, format, filter)
		if err != nil {
			return err
		}
		from := since.Or(eventsFrom{})
		req := api.EventsRequest{After: from.index, Since: from.time, Follow: follow}
		return c.events(ctx, node, req, until.Or(time.Time{}), p)
	})
	return cmd
}

// eventsFrom is where --since begins.
type eventsFrom struct {
	index *uint64
	time  time.Time
}

// mostIndex is more than any log gets to, and less than Unix seconds are since
// the day that Edgeswarm was thought of.
const mostIndex = 1_000_000_000

// parseEventsFrom reads an index, or what parseSince does.
func parseEventsFrom(s string) (eventsFrom, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n < mostIndex {
		return eventsFrom{index: &n}, nil
	}
	t, err := parseSince(s)
	if err != nil {
		return eventsFrom{}, errors.New("it is no index, time or duration: give one such as 4711, 2026-01-02T15:04:05Z or 10m")
	}
	return eventsFrom{time: t}, nil
}

// events prints until there are no more, until is over, or ctx ends.
func (c *cli) events(ctx context.Context, node *client.Client, req api.EventsRequest, until time.Time, p *eventPrinter) error {
	over := errors.New("until is over")
	if !until.IsZero() && !until.After(now()) {
		req.Follow = false
	}
	if !until.IsZero() && req.Follow {
		timed, cancel := context.WithDeadlineCause(ctx, until, over)
		defer cancel()
		ctx = timed
	}
	gone := func(index uint64) {
		fmt.Fprintf(c.err, "edgectl: events up to index %d are gone: the fleet keeps the latest only\n", index)
	}
	lost := func(err error) {
		fmt.Fprintf(c.err, "edgectl: no leader answers, events go on by themselves once one does: %v\n", err)
	}
	err := node.Events(ctx, req, gone, lost, func(e api.Event) error {
		if !until.IsZero() && e.Time.After(until) {
			return over
		}
		return p.print(e)
	})
	if errors.Is(err, over) || errors.Is(context.Cause(ctx), over) {
		return nil
	}
	return err
}

// eventRow is an event in Docker's names.
type eventRow struct {
	Type     api.EventType
	Action   string
	Actor    api.EventActor
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
	Index    uint64
}

// eventPrinter prints the events that a filter lets through.
type eventPrinter struct {
	out    io.Writer
	format string
	filter *filter
}

// eventTypes are those there are.
var eventTypes = []api.EventType{api.EventConfig, api.EventImage, api.EventNode, api.EventSecret, api.EventService, api.EventTask}

func newEventPrinter(out io.Writer, format string, f *filter) (*eventPrinter, error) {
	for _, t := range f.wanted["type"] {
		if !slices.Contains(eventTypes, api.EventType(t)) {
			return nil, invalidf("--filter type=%s: there are only events of %v", t, eventTypes)
		}
	}
	if format != "" && format != output.JSON { // a bad one is refused before anything is asked
		if err := output.Rows(io.Discard, format, "", eventRow{}, []eventRow{{}}); err != nil {
			return nil, err
		}
	}
	return &eventPrinter{out: out, format: format, filter: f}, nil
}

func (p *eventPrinter) print(e api.Event) error {
	if !p.wants(e) {
		return nil
	}
	if p.format == "" {
		_, err := fmt.Fprintln(p.out, eventLine(e))
		return err
	}
	row := eventRow{Type: e.Type, Action: e.Action, Actor: e.Actor, Scope: "swarm", Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(), Index: e.Index}
	return output.Rows(p.out, p.format, "", row, []eventRow{row})
}

func (p *eventPrinter) wants(e api.Event) bool {
	f, a := p.filter, e.Actor.Attributes
	of := func(kind api.EventType, key string) bool {
		if e.Type == kind {
			return f.is(key, e.Actor.ID, a["name"])
		}
		return f.is(key, a[key], a[key+".id"])
	}
	return f.is("type", string(e.Type)) && f.is("action", e.Action) && f.is("event", e.Action) && f.begins("id", e.Actor.ID) &&
		f.begins("name", a["name"]) && of(api.EventService, "service") && of(api.EventNode, "node") && f.labelled("label", a)
}

// eventLine is an event as Docker prints it, behind its index.
func eventLine(e api.Event) string {
	var attributes []string
	for _, key := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
		attributes = append(attributes, key+"="+e.Actor.Attributes[key])
	}
	const nanos = "2006-01-02T15:04:05.000000000Z07:00"
	return output.Safe(fmt.Sprintf("%d %s %s %s %s (%s)", e.Index, e.Time.Local().Format(nanos), e.Type, e.Action, e.Actor.ID, strings.Join(attributes, ", ")))
}
