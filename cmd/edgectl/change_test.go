package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/rollout"
)

// moment is a service on its way: how many of its tasks run, and where an
// update stands.
func moment(s *api.Service, running int, state api.UpdateState, converged bool) *api.ServiceProgress {
	s = ptr(*s)
	s.Version.Index++
	if state != "" {
		s.Rollout = &api.Rollout{Target: s.SpecVersion, State: state}
		s.UpdateStatus = &api.UpdateStatus{State: state, Message: "task t1 failed"}
	}
	p := &api.ServiceProgress{Service: s, Nodes: map[api.NodeID]string{"n1": "board1"}, Converged: converged}
	for i := 1; i <= int(s.Spec.Replicas()); i++ {
		t := &api.Task{ID: api.TaskID(fmt.Sprint("t", i)), ServiceName: s.Spec.Name, Slot: i, SpecVersion: s.SpecVersion, NodeID: "n1", DesiredState: api.TaskRunning}
		t.Status = api.TaskStatus{State: api.TaskPreparing, Attempt: 1}
		if i <= running {
			t.Status.State = api.TaskRunning
		}
		p.Tasks = append(p.Tasks, t)
	}
	return p
}

// plays sends moments and then waits for the caller to leave.
func plays(moments ...*api.ServiceProgress) func(int, grpc.ServerStreamingServer[api.ServiceProgress]) error {
	return func(_ int, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
		for _, m := range moments {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}
}

func TestAnUpdateIsFollowedToItsEnd(t *testing.T) {
	f := newFleet()
	web := f.services[1].Service
	f.watch = plays(moment(web, 0, api.UpdateUpdating, false), moment(web, 1, api.UpdateUpdating, false), moment(web, 1, api.UpdateUpdating, false), moment(web, 2, api.UpdateCompleted, true))
	r := f.edgectl(t, "service", "update", "--image", "web:2", "--parallelism", "2", "--delay", "10s", "web")
	want := `web
web.1: preparing on board1
web.2: preparing on board1
overall progress: 0 out of 2 tasks
web.1: running on board1
overall progress: 1 out of 2 tasks
web.2: running on board1
overall progress: 2 out of 2 tasks
verify: service web converged
`
	if r.code != 0 || r.out != want {
		t.Errorf("exit %d: %s\ngot:\n%swant:\n%s", r.code, r.err, r.out, want)
	}
	asked := requests[*api.UpdateServiceRequest](f)
	if len(asked) != 1 || asked[0].RequestID == "" || *asked[0].Patch.Update.Parallelism != 2 || *asked[0].Patch.Update.Delay != 10*time.Second || *asked[0].Patch.Image != "web:2" {
		t.Errorf("asked %+v", asked)
	}
}

func TestALeadersDeathInTheMiddleIsNotSeen(t *testing.T) {
	f := newFleet()
	web := f.services[1].Service
	before := web.Version.Index
	refused := 0
	f.fail = func(method string) error { // the write is made, and its answer lost, twice
		if method != "UpdateService" || refused == 2 {
			return nil
		}
		refused++
		return api.Errorf(api.Unavailable, "update service", "the leader is gone")
	}
	f.watch = func(call int, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
		switch call {
		case 1:
			_ = s.Send(moment(web, 0, api.UpdateUpdating, false))
			return api.Errorf(api.NotLeader, "watch service", "this node leads no more")
		case 2:
			return api.Errorf(api.Unavailable, "watch service", "no leader is known")
		default:
			return plays(moment(web, 0, api.UpdateUpdating, false), moment(web, 2, api.UpdateCompleted, true))(call, s)
		}
	}
	r := f.edgectl(t, "service", "update", "--force", "web")
	if r.code != 0 || r.err != "" || strings.Count(r.out, "web.1: preparing") != 1 || !strings.Contains(r.out, "converged") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	asked := requests[*api.UpdateServiceRequest](f)
	if len(asked) != 3 || asked[0].RequestID != asked[2].RequestID || asked[0].RequestID == "" || web.Version.Index != before+1 {
		t.Errorf("%d requests, version went from %d to %d", len(asked), before, web.Version.Index)
	}
}

func TestABadEndIsAnErrorWithItsReason(t *testing.T) {
	for state, say := range map[api.UpdateState]string{
		api.UpdatePaused:            "update of service web paused: task t1 failed",
		api.UpdateRollbackCompleted: "service web rolled back: task t1 failed",
		api.UpdateRollbackPaused:    "rollback of service web paused",
	} {
		f := newFleet()
		f.watch = plays(moment(f.services[1].Service, 1, state, state == api.UpdateRollbackCompleted))
		r := f.edgectl(t, "service", "update", "--force", "web")
		if r.code != 1 || !strings.Contains(r.err, say) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit %d: %q", state, r.code, r.err)
		}
	}
}

func TestDetachDoesNotWait(t *testing.T) {
	f := newFleet()
	f.watch = func(int, grpc.ServerStreamingServer[api.ServiceProgress]) error {
		t.Error("it watched")
		return nil
	}
	for _, args := range []string{"service create -d --name a x", "service update --detach --force web", "service scale -d web=3", "service rollback -d web", "service update -d --rollback web"} {
		if r := f.edgectl(t, strings.Fields(args)...); r.code != 0 || r.out == "" {
			t.Errorf("%s: exit %d: %s", args, r.code, r.err)
		}
	}
	if n := len(requests[*api.RollbackServiceRequest](f)); n != 2 {
		t.Errorf("%d rollbacks", n)
	}
}

func TestInterruptingLeavesTheServiceAndSaysSo(t *testing.T) {
	f := newFleet()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f.watch = func(_ int, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
		interrupt()
		<-s.Context().Done()
		return nil
	}
	r := f.edgectlWith(ctx, t, nil, "service", "create", "--name", "api", "x")
	if r.code != exitInterrupted || !strings.Contains(r.err, "the service stays") || !strings.Contains(r.err, "edgectl service ps api") {
		t.Errorf("exit %d: %q", r.code, r.err)
	}
	if n := len(requests[*api.RemoveServiceRequest](f)); n != 0 {
		t.Error("it removed the service")
	}
}

func TestCreatePrintsTheIDAndTheWarnings(t *testing.T) {
	f := newFleet()
	f.watch = func(call int, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
		spec := requests[*api.CreateServiceRequest](f)[0].Spec
		svc := testService(spec.Name, 1)
		svc.Spec = spec
		return plays(moment(svc, 1, api.UpdateCompleted, true))(call, s)
	}
	r := f.edgectl(t, "service", "create", "--quiet", "x")
	asked := requests[*api.CreateServiceRequest](f)
	if r.code != 0 || len(asked) != 1 || asked[0].Spec.Name == "" || strings.Count(r.out, "\n") != 1 || !strings.Contains(r.err, "warning: the image is old") {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
}

func TestAMadeUpNameThatIsTakenIsMadeUpAgain(t *testing.T) {
	f := newFleet()
	tries := 0
	f.fail = func(string) error {
		if tries++; tries < 3 {
			return api.Errorf(api.Conflict, "create service", "the name is in use")
		}
		return nil
	}
	if r := f.edgectl(t, "service", "create", "-d", "x"); r.code != 0 || tries != 3 {
		t.Errorf("exit %d after %d tries: %s", r.code, tries, r.err)
	}
	tries = -10
	if r := f.edgectl(t, "service", "create", "-d", "--name", "web", "x"); r.code != 1 || tries != -9 || !strings.Contains(r.err, "in use") {
		t.Errorf("exit %d after %d tries: %s", r.code, tries+10, r.err)
	}
}

func TestScaleSendsOnlyTheReplicas(t *testing.T) {
	f := newFleet()
	if r := f.edgectl(t, "service", "scale", "-d", "web=0", "cam=3"); r.code != 0 || r.out != "web scaled to 0\ncam scaled to 3\n" {
		t.Errorf("exit %d: %q %q", r.code, r.out, r.err)
	}
	asked := requests[*api.UpdateServiceRequest](f)
	if len(asked) != 2 || *asked[0].Patch.Replicas != 0 || *asked[1].Patch.Replicas != 3 {
		t.Errorf("asked %+v", asked)
	}
}

// script feeds follow at given times, in a bubble.
func script(t *testing.T, ch change, steps map[time.Duration]*api.ServiceProgress, last time.Duration) (out string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		moments, watched := make(chan *api.ServiceProgress), make(chan error)
		begun := time.Now()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for at := time.Duration(0); at <= last; at += time.Second {
				if m := steps[at]; m != nil {
					select {
					case moments <- m:
					case <-ctx.Done():
						return
					}
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
		}()
		var text strings.Builder
		err = follow(ctx, rollout.NewPlain(&text), ch, moments, watched)
		out, took = text.String(), time.Since(begun)
		cancel()
		<-ended
	})
	return out, took, err
}

func TestANewServiceMustStayUp(t *testing.T) {
	s := testService("web", 2)
	steps := map[time.Duration]*api.ServiceProgress{
		0: moment(s, 0, "", false), 2 * time.Second: moment(s, 2, "", true), // settled, for 3 of 5 seconds
		5 * time.Second: moment(s, 1, "", false), 9 * time.Second: moment(s, 2, "", true),
	}
	out, took, err := script(t, change{service: s}, steps, 10*time.Second)
	if err != nil || took != 14*time.Second {
		t.Errorf("%v after %v, want 14s", err, took)
	}
	if !strings.Contains(out, "not all tasks stayed up") || !strings.HasSuffix(out, "verify: service web converged\n") {
		t.Error(out)
	}
	s.Spec.UpdateConfig = &api.UpdateConfig{Monitor: time.Second}
	if _, took, err := script(t, change{service: s}, map[time.Duration]*api.ServiceProgress{0: moment(s, 2, "", true)}, 0); err != nil || took != time.Second {
		t.Errorf("%v after %v, want the spec's monitor period", err, took)
	}
}

func TestAMomentFromBeforeTheChangeIsNotShown(t *testing.T) {
	s := testService("web", 2)
	s.Version.Index = 20
	old := moment(s, 2, "", true)
	old.Service.Version.Index = 19
	out, took, err := script(t, change{service: s}, map[time.Duration]*api.ServiceProgress{
		0: old, 10 * time.Second: moment(s, 2, api.UpdateUpdating, false), 20 * time.Second: moment(s, 2, api.UpdateCompleted, true)}, 20*time.Second)
	if err != nil || took != 20*time.Second || strings.Count(out, "overall progress") != 1 {
		t.Errorf("%v after %v:\n%s", err, took, out)
	}
}
