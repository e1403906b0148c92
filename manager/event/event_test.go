package event_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/event"
	"github.com/edgeswarm/edgeswarm/store"
)

// told is what an entry comes to, one event a line.
func told(changes ...store.Change) string {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	name := func(id api.NodeID) string { return strings.Replace(string(id), "n", "board", 1) }
	var lines []string
	for i, e := range event.Of(store.Event{Index: 7, Time: at, Changes: changes}, name) {
		if e.Index != 7 || e.Part != i || !e.Time.Equal(at) {
			return fmt.Sprintf("event %d is %+v", i, e)
		}
		line := fmt.Sprint(e.Type, " ", e.Action, " ", e.Actor.ID)
		for _, key := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
			line += " " + key + "=" + e.Actor.Attributes[key]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func made(obj api.Object) store.Change        { return store.Change{New: obj} }
func gone(obj api.Object) store.Change        { return store.Change{Old: obj} }
func became(old, now api.Object) store.Change { return store.Change{Old: old, New: now} }
func with[T any](v *T, change func(*T)) *T {
	next := *v
	change(&next)
	return &next
}

func TestWhatChangesMean(t *testing.T) {
	replicas := func(n uint64) api.ServiceMode {
		return api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: &n}}
	}
	web := &api.Service{ID: "s", Spec: api.ServiceSpec{
		Annotations: api.Annotations{Name: "web", Labels: map[string]string{"tier": "front"}}, Mode: replicas(2),
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "web:1"}},
	}}
	cron := &api.Service{ID: "c", Spec: api.ServiceSpec{Annotations: api.Annotations{Name: "cron"}, Mode: api.ServiceMode{Global: &api.GlobalService{}}}}
	node := &api.Node{ID: "n1", Spec: api.NodeSpec{Role: api.RoleAuto, Availability: api.AvailabilityActive},
		Description: api.NodeDescription{Hostname: "board1"}, Status: api.NodeStatus{State: api.NodeReady}}
	task := &api.Task{ID: "t", ServiceID: "s", ServiceName: "web", Slot: 1, DesiredState: api.TaskRunning, Spec: web.Spec.TaskTemplate, Status: api.TaskStatus{State: api.TaskPending}}
	placed := with(task, func(t *api.Task) { t.NodeID, t.Status.State = "n1", api.TaskAssigned })
	running := with(placed, func(t *api.Task) { t.Status = api.TaskStatus{State: api.TaskRunning, Attempt: 1} })
	code := 3
	failed := with(running, func(t *api.Task) {
		t.Status = api.TaskStatus{State: api.TaskFailed, Attempt: 2, ExitCode: &code, Err: "exit 3"}
	})
	image := &api.Image{ID: "sha256:1", Names: []string{"web:1"}}
	secret := &api.Secret{ID: "x", Spec: api.DataSpec{Annotations: api.Annotations{Name: "pw"}, Data: []byte("s3cret")}}
	config := &api.Config{ID: "y", Spec: api.DataSpec{Annotations: api.Annotations{Name: "conf"}, Data: []byte("text")}}
	const aTask = " image=web:1 name=web.1 "
	const onBoard1 = " node=board1 node.id=n1 service=web service.id=s"
	for name, c := range map[string]struct {
		change store.Change
		want   string
	}{
		"service made":     {made(web), "service create s name=web tier=front"},
		"scaled":           {became(web, with(web, func(s *api.Service) { s.Spec.Mode = replicas(3) })), "service update s name=web replicas.new=3 replicas.old=2 tier=front"},
		"another image":    {became(web, with(web, func(s *api.Service) { s.Spec.TaskTemplate.ContainerSpec.Image = "web:2" })), "service update s image.new=web:2 image.old=web:1 name=web tier=front"},
		"a global service": {became(cron, with(cron, func(s *api.Service) { s.Spec.Labels = map[string]string{"a": "b"} })), "service update c a=b name=cron"},
		"its update runs": {became(web, with(web, func(s *api.Service) { s.UpdateStatus = &api.UpdateStatus{State: api.UpdateUpdating} })),
			"service update s name=web tier=front updatestate.new=updating"},
		"a wave is noted":   {became(web, with(web, func(s *api.Service) { s.Rollout = &api.Rollout{} })), ""},
		"service removed":   {became(web, with(web, func(s *api.Service) { s.PendingDelete = true })), "service remove s name=web tier=front"},
		"service forgotten": {gone(with(web, func(s *api.Service) { s.PendingDelete = true })), ""},
		"service gone":      {gone(web), "service remove s name=web tier=front"},

		"node joined":  {made(node), "node create n1 availability=active name=board1 role=auto state=ready"},
		"node down":    {became(node, with(node, func(n *api.Node) { n.Status = api.NodeStatus{State: api.NodeDown, Message: "nothing heard"} })), "node update n1 message=nothing heard name=board1 state.new=down state.old=ready"},
		"promoted":     {became(node, with(node, func(n *api.Node) { n.Spec.Role = api.RoleManager })), "node update n1 name=board1 role.new=manager role.old=auto"},
		"drained":      {became(node, with(node, func(n *api.Node) { n.Spec.Availability = api.AvailabilityDrain })), "node update n1 availability.new=drain availability.old=active name=board1"},
		"labelled":     {became(node, with(node, func(n *api.Node) { n.Spec.Labels = map[string]string{"room": "attic"} })), "node update n1 name=board1 room=attic"},
		"rebooted":     {became(node, with(node, func(n *api.Node) { n.Description.BootID = "2" })), ""},
		"node removed": {gone(node), "node remove n1 name=board1"},

		"task made":    {made(task), "task create t" + aTask + "service=web service.id=s"},
		"made, placed": {made(placed), "task create t" + aTask[:len(aTask)-1] + onBoard1 + "\ntask assigned t" + aTask[:len(aTask)-1] + onBoard1},
		"placed":       {became(task, placed), "task assigned t" + aTask[:len(aTask)-1] + onBoard1},
		"runs":         {became(placed, running), "task running t attempt=1" + aTask[:len(aTask)-1] + onBoard1},
		"failed":       {became(running, failed), "task failed t attempt=2 exitCode=3 image=web:1 message=exit 3 name=web.1" + onBoard1},
		"to be stopped": {became(running, with(running, func(t *api.Task) { t.DesiredState = api.TaskShutdown })),
			"task update t desired.new=shutdown desired.old=running" + aTask[:len(aTask)-1] + onBoard1},
		"why it waits":   {became(task, with(task, func(t *api.Task) { t.Status.Message = "no suitable node" })), ""},
		"task forgotten": {gone(failed), "task remove t" + aTask[:len(aTask)-1] + onBoard1},

		"image in":      {made(image), "image create sha256:1 name=web:1"},
		"image claimed": {became(image, with(image, func(*api.Image) {})), ""},
		"image renamed": {became(image, with(image, func(i *api.Image) { i.Names = []string{"web:2"} })), "image untag sha256:1 name=web:1\nimage tag sha256:1 name=web:2"},
		"image gone":    {gone(image), "image delete sha256:1 name=web:1"},

		"secret made": {made(secret), "secret create x name=pw"},
		"secret gone": {gone(secret), "secret remove x name=pw"},
		"config made": {made(config), "config create y name=conf"},
		"config gone": {gone(config), "config remove y name=conf"},
		"the fleet":   {made(&api.Cluster{}), ""},
	} {
		if got := told(c.change); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
	if got := told(made(web), gone(image)); strings.Count(got, "\n") != 1 {
		t.Errorf("an entry of two changes: %s", got)
	}
	if got := told(made(secret), made(config)); strings.Contains(got, "s3cret") {
		t.Error("an event tells a secret")
	}
}
