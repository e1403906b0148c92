package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
	"github.com/edgeswarm/edgeswarm/store"
)

// large is a task with about as much of a spec as one may have.
func large(id string, state api.TaskState) *api.Task {
	t := task(api.TaskID(id), "b")
	t.Spec.ContainerSpec.Args = []string{strings.Repeat("x", 230<<10)}
	t.Spec.ContainerSpec.Secrets = []api.SecretReference{{SecretID: "s", SecretName: "s"}}
	t.Spec.ContainerSpec.Configs = []api.ConfigReference{{ConfigID: "c", ConfigName: "c"}}
	t.Status = api.TaskStatus{State: state, Attempt: 1}
	return t
}

// gather puts the parts of one assignment together, and checks each.
func gather(t *testing.T, parts []*api.Assignment) *api.Assignment {
	t.Helper()
	if len(parts) == 0 {
		t.Fatal("nothing was sent")
	}
	whole := *parts[0]
	whole.Set, whole.Removed = nil, nil
	for i, part := range parts {
		raw, err := api.Encode(part)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > api.MaxMessage/2 {
			t.Errorf("part %d has %d bytes", i, len(raw))
		}
		if part.More != (i < len(parts)-1) || part.Full != whole.Full || part.Previous != whole.Previous || part.Next != whole.Next {
			t.Errorf("part %d of %d: more %v, full %v, %v to %v", i, len(parts), part.More, part.Full, part.Previous, part.Next)
		}
		whole.Set, whole.Removed = append(whole.Set, part.Set...), append(whole.Removed, part.Removed...)
	}
	return &whole
}

func TestLargeSetGoesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := []api.Object{managertest.Node("a", "one"), managertest.Node("b", "two"),
			&api.Secret{ID: "s", Spec: api.DataSpec{Annotations: api.Annotations{Name: "s"}, Data: make([]byte, api.MaxSecret)}},
			&api.Config{ID: "c", Spec: api.DataSpec{Annotations: api.Annotations{Name: "c"}, Data: make([]byte, api.MaxConfig)}},
		}
		for i := range 20 {
			objects = append(objects, large(fmt.Sprint("t", i), api.TaskAssigned), large(fmt.Sprint("old", i), api.TaskShutdown))
		}
		b := start(t, objects...)
		defer b.stop(t)
		s := managertest.Open(t.Context(), b.server, "b")
		greeting := hello(api.SetID{})
		greeting.Hello.Parts = true
		s.Report(greeting)
		whole := gather(t, drain(s))
		held := map[api.ItemKey]bool{}
		for _, item := range whole.Set {
			held[item.Key()] = true
			if item.Task == nil {
				continue
			}
			spec := item.Task.Spec.ContainerSpec
			if over := item.Task.Over(); over != (len(spec.Args) == 0) || spec.Image == "" {
				t.Errorf("task %s, over %v, is sent with %d arguments of image %q", item.Task.ID, over, len(spec.Args), spec.Image)
			}
		}
		if len(whole.Set) != len(held) || len(held) != 40+2+2 {
			t.Errorf("%d items of %d keys were sent", len(whole.Set), len(held))
		}

		// What ends sends nothing back; what changes continues from the whole.
		b.Change(t, func(tx *store.Tx) {
			ended := *tx.Task("t0")
			ended.Status = api.TaskStatus{State: api.TaskFailed, Attempt: 1, Exhausted: true}
			tx.Put(&ended)
		})
		time.Sleep(settle)
		if got := drain(s); len(got) != 0 {
			t.Errorf("a task's end was answered with %d messages", len(got))
		}
		b.Change(t, func(tx *store.Tx) {
			for i := range 20 {
				next := *tx.Task(api.TaskID(fmt.Sprint("t", i)))
				next.DesiredState = api.TaskShutdown
				tx.Put(&next)
				tx.Delete(tx.Task(api.TaskID(fmt.Sprint("old", i))))
			}
		})
		time.Sleep(settle)
		change := gather(t, drain(s))
		if change.Full || change.Previous != whole.Next || len(change.Set) != 20 || len(change.Removed) < 20 {
			t.Errorf("%v to %v, full %v: %d set, %d removed", change.Previous, change.Next, change.Full, len(change.Set), len(change.Removed))
		}
	})
}

// An agent that does not know parts would take the first for all there is.
func TestOldAgentIsSentNoParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := []api.Object{managertest.Node("a", "one"), managertest.Node("b", "two")}
		for i := range 3 {
			objects = append(objects, large(fmt.Sprint("t", i), api.TaskAssigned))
		}
		b := start(t, objects...)
		defer b.stop(t)
		s := managertest.Open(t.Context(), b.server, "b")
		s.Report(hello(api.SetID{}))
		if got := drain(s); len(got) != 1 || got[0].More || len(got[0].Set) != 3+2 {
			t.Errorf("sent %d messages", len(got))
		}
	})
}
