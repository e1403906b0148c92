package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// happened are events of a service, its task and the task's node, a second apart.
func happened() []api.Event {
	at := func(n int, kind api.EventType, action, id string, attributes map[string]string) api.Event {
		return api.Event{
			Index: uint64(100 + n), Time: time.Date(2026, 1, 2, 3, 4, n, 5000, time.UTC), Type: kind, Action: action,
			Actor: api.EventActor{ID: id, Attributes: attributes},
		}
	}
	return []api.Event{
		at(1, api.EventService, api.EventCreate, "s1", map[string]string{"name": "web", "tier": "front"}),
		at(2, api.EventTask, "running", "t1", map[string]string{"name": "web.1", "service": "web", "service.id": "s1", "node": "board2", "node.id": "n2"}),
		at(3, api.EventTask, "failed", "t2", map[string]string{"name": "db.1", "service": "db", "service.id": "s2", "node": "board3", "node.id": "n3", "message": "exit\x1b1"}),
		at(4, api.EventNode, api.EventUpdate, "n2", map[string]string{"name": "board2", "state.old": "ready", "state.new": "down"}),
	}
}

// tellOf answers with events, and for a follower cuts the stream once.
func tellOf(asked *[]api.EventsRequest, events []api.Event) func(int, *api.EventsRequest, grpc.ServerStreamingServer[api.EventsPage]) error {
	return func(call int, r *api.EventsRequest, s grpc.ServerStreamingServer[api.EventsPage]) error {
		*asked = append(*asked, *r)
		_ = s.Send(&api.EventsPage{Fleet: "f"})
		for i, e := range events {
			if r.After != nil && e.Index <= *r.After {
				continue
			}
			_ = s.Send(&api.EventsPage{Fleet: "f", Index: e.Index, Events: []api.Event{e}})
			if r.Follow && call == 1 && i == 1 {
				return api.Errorf(api.Unavailable, "events", "the leader is gone")
			}
		}
		return nil
	}
}

func TestEventsArePrintedAsDockerDoes(t *testing.T) {
	t.Setenv("TZ", "UTC")
	for args, want := range map[string]string{
		"": "101 service create s1 (name=web, tier=front)|102 task running t1 (name=web.1, node=board2, node.id=n2, service=web, service.id=s1)|" +
			"103 task failed t2 (message=exit 1, name=db.1, node=board3, node.id=n3, service=db, service.id=s2)|104 node update n2 (name=board2, state.new=down, state.old=ready)",
		"--filter type=node --filter type=service --format {{.Action}}|{{.Actor.ID}}|{{.Actor.Attributes.name}}|{{.Index}}": "create|s1|web|101|update|n2|board2|104",
		"--filter service=web --format {{.Index}}":                      "101|102",
		"--filter service=s2 --format {{.Index}}":                       "103",
		"--filter node=board2 --format {{.Index}}":                      "102|104",
		"--filter action=failed --format {{.Index}}":                    "103",
		"--filter event=update --filter name=board --format {{.Index}}": "104",
		"--filter label=tier=front --format {{.Index}}":                 "101",
		"--filter id=t --format {{.Index}}":                             "102|103",
		"--until 2026-01-02T03:04:02.5Z --format {{.Index}}":            "101|102",
		"--since 102 --format {{.Index}}":                               "103|104",
		"--filter type=service --format json": `{"Type":"service","Action":"create","Actor":{"ID":"s1","Attributes":{"name":"web","tier":"front"}},` +
			`"scope":"swarm","time":1767323041,"timeNano":1767323041000005000,"Index":101}`,
	} {
		f := newFleet()
		var asked []api.EventsRequest
		f.events = tellOf(&asked, happened())
		r := f.edgectl(t, append([]string{"events"}, split(args)...)...)
		got := strings.ReplaceAll(strings.TrimSuffix(r.out, "\n"), "\n", "|")
		for _, e := range happened() {
			got = strings.ReplaceAll(got, " "+e.Time.Local().Format("2006-01-02T15:04:05.000000000Z07:00"), "")
		}
		if r.code != 0 || r.err != "" || got != want {
			t.Errorf("%s: exit %d, %s\ngot  %s\nwant %s", args, r.code, r.err, got, want)
		}
	}
}

// A follower goes on behind what it has seen, and ends when until is over.
func TestEventsAreFollowed(t *testing.T) {
	f := newFleet()
	var asked []api.EventsRequest
	f.events = tellOf(&asked, happened())
	r := f.edgectl(t, "events", "-f", "--since", "100", "--until", "2026-01-02T03:04:03.5Z", "--format", "{{.Index}}")
	if r.code != 0 || r.out != "101\n102\n103\n" || len(asked) != 1 { // until is over already
		t.Errorf("exit %d: %q %s", r.code, r.out, r.err)
	}
	asked = nil
	f = newFleet()
	f.events = tellOf(&asked, append(happened(), api.Event{Index: 200, Time: time.Now().Add(time.Hour)}))
	r = f.edgectl(t, "events", "-f", "--since", "100", "--until", now().Add(time.Minute).Format(time.RFC3339), "--format", "{{.Index}}")
	if r.code != 0 || r.out != "101\n102\n103\n104\n" || len(asked) != 2 || *asked[0].After != 100 || *asked[1].After != 102 {
		t.Errorf("exit %d: %q %s, asked %+v", r.code, r.out, r.err, asked)
	}
}

func TestEventsThatAreGone(t *testing.T) {
	f := newFleet()
	f.events = func(_ int, r *api.EventsRequest, s grpc.ServerStreamingServer[api.EventsPage]) error {
		if r.After != nil {
			return api.Errorf(api.NotFound, "events", "events behind index 5 are gone: go on with --since 90")
		}
		return s.Send(&api.EventsPage{Index: 90, Gone: 90, Events: happened()[:1]})
	}
	if r := f.edgectl(t, "events", "-f", "--since", "5"); r.code != 1 || !strings.Contains(r.err, "--since 90") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("exit %d: %q", r.code, r.err)
	}
	if r := f.edgectl(t, "events", "--since", "10m", "--format", "{{.Index}}"); r.code != 0 || r.out != "101\n" || !strings.Contains(r.err, "up to index 90 are gone") {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
}
