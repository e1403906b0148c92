package orchestrator_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/script"
	"github.com/edgeswarm/edgeswarm/store"
)

func TestTranscripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func(string) string {
		w := newWorld()
		return func(line string) string {
			if line == "fleet" {
				w = newWorld()
				return ""
			}
			w.log.Reset()
			w.command(t, strings.Fields(line))
			return w.log.String()
		}
	})
}

// command runs one line of a transcript.
func (w *world) command(t *testing.T, words []string) {
	t.Helper()
	arg := ""
	if len(words) > 1 {
		arg = words[1]
	}
	switch words[0] {
	case "node": // node a,b [drain|pause|active] [label=k:v] [mem=MB] [arch=…]
		for id := range strings.SplitSeq(arg, ",") {
			w.commit([]api.Object{node(t, w.v, id, words[2:])}, nil)
		}
	case "off", "on":
		w.power(api.NodeID(arg), words[0] == "on")
	case "completes": // a task, by itself
		w.local[api.TaskID(arg)].status.State = api.TaskComplete
		w.local[api.TaskID(arg)].status.Exhausted = true
	case "rm-node":
		w.off[api.NodeID(arg)] = true
		w.commit(nil, []api.Object{w.v.Node(api.NodeID(arg))})
	case "service": // service web [word…]: see spec
		s := &api.Service{ID: api.ServiceID(arg), SpecVersion: 1, Spec: spec(t, api.ServiceSpec{Annotations: api.Annotations{Name: arg}}, words[2:]).Defaults()}
		s.StartJob(w.now())
		w.commit([]api.Object{s}, nil)
	case "update":
		s := w.v.Service(api.ServiceID(arg))
		w.respec(s, spec(t, s.Spec, words[2:]).Defaults())
	case "rollback":
		w.rollback(w.v.Service(api.ServiceID(arg)))
	case "rebalance":
		next := *w.v.Service(api.ServiceID(arg))
		next.StartRebalance(api.UpdateStatus{State: api.UpdateUpdating})
		w.commit([]api.Object{&next}, nil)
	case "rm":
		next := *w.v.Service(api.ServiceID(arg))
		next.PendingDelete = true
		w.commit([]api.Object{&next}, nil)
	case "history":
		n, _ := strconv.ParseInt(arg, 10, 64)
		w.commit([]api.Object{&api.Cluster{Spec: api.ClusterSpec{TaskHistoryRetentionLimit: &n}}}, nil)
	case "leader":
		w.newLeader()
	case "run": // run 30s
		d, err := time.ParseDuration(arg)
		if err != nil {
			t.Fatal(err)
		}
		w.plan()
		for range int(d / time.Second) {
			w.step()
		}
	case "commits":
		fmt.Fprintf(&w.log, "%d commits\n", w.commits)
		w.commits = 0
	case "ps":
		w.ps()
	default:
		t.Fatalf("unknown command %q", words)
	}
}

// respec changes a service as Control does.
func (w *world) respec(s *api.Service, spec api.ServiceSpec) {
	next := *s
	next.Spec, next.PreviousSpec = spec, new(s.Spec)
	before, _ := api.Encode(struct{ T, E any }{s.Spec.TaskTemplate, s.Spec.EndpointSpec})
	after, _ := api.Encode(struct{ T, E any }{spec.TaskTemplate, spec.EndpointSpec})
	if string(before) != string(after) {
		next.SpecVersion++
		next.Rollout, next.UpdateStatus = nil, nil
	}
	if spec.Mode.Job() && spec.TaskTemplate.ForceUpdate != s.Spec.TaskTemplate.ForceUpdate {
		next.StartJob(w.now())
	}
	w.commit([]api.Object{&next}, nil)
}

func (w *world) rollback(s *api.Service) {
	next := *s
	next.Spec, next.PreviousSpec = *s.PreviousSpec, new(s.Spec)
	next.SpecVersion++
	if next.Spec.Mode.Job() {
		w.commit([]api.Object{&next}, nil)
		return
	}
	next.Rollout = &api.Rollout{Target: next.SpecVersion, Rollback: true, State: api.UpdateRollbackStarted}
	next.UpdateStatus = &api.UpdateStatus{State: api.UpdateRollbackStarted, Message: "manually requested rollback"}
	w.commit([]api.Object{&next}, nil)
}

func (w *world) ps() {
	for t := range w.v.Tasks.All() {
		fmt.Fprintf(&w.log, "%s %s %s on %s shall be %s, is %s\n", place(t), t.ID, t.Spec.ContainerSpec.Image, t.NodeID, t.DesiredState, t.Status.State)
	}
}

func node(t *testing.T, v *store.View, id string, words []string) *api.Node {
	n := &api.Node{
		ID: api.NodeID(id), Status: api.NodeStatus{State: api.NodeReady},
		Spec:        api.NodeSpec{Availability: api.AvailabilityActive, Annotations: api.Annotations{Labels: map[string]string{}}},
		Description: api.NodeDescription{Hostname: id, Platform: api.Platform{OS: "linux", Architecture: "arm64"}, Resources: api.Resources{MemoryBytes: 1 << 30}},
	}
	if old := v.Node(n.ID); old != nil {
		n = new(api.Clone(*old))
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "active", "drain", "pause":
			n.Spec.Availability = api.Availability(key)
		case "label":
			name, value, _ := strings.Cut(value, ":")
			n.Spec.Labels[name] = value
		case "device":
			n.Description.Devices = []api.BoardDevices{{Paths: []string{value}}}
		case "unplug":
			n.Description.Devices = nil
		case "generic": // generic=gpu:A,gpu:B,ssd:3
			n.Description.Resources.GenericResources = nil
			if value != "" {
				n.Description.Resources.GenericResources = generic(t, strings.Split(strings.ReplaceAll(value, ":", "="), ",")...)
			}
		case "mem":
			n.Description.Resources.MemoryBytes = int64(integer(t, value)) << 20
		case "arch":
			n.Description.Platform.Architecture = value
		default:
			t.Fatalf("node: unknown word %q", word)
		}
	}
	return n
}

func integer(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// spec changes a spec by words: image=app:1 replicas=3 global parallelism=2 …
func spec(t *testing.T, s api.ServiceSpec, words []string) api.ServiceSpec {
	t.Helper()
	if len(words) > 0 && strings.Contains(words[0], "job") {
		s.TaskTemplate.RestartPolicy = &api.RestartPolicy{Condition: api.RestartOnFailure}
	}
	s = s.Defaults()
	template := &s.TaskTemplate
	if template.Placement == nil {
		template.Placement = &api.Placement{}
	}
	duration := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "image":
			template.ContainerSpec.Image = value
		case "replicas":
			s.Mode = api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: new(integer(t, value))}}
		case "global":
			s.Mode = api.ServiceMode{Global: &api.GlobalService{}}
		case "job": // job=total, or job=total/concurrent
			total, concurrent, bounded := strings.Cut(value, "/")
			s.Mode = api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{TotalCompletions: new(integer(t, total))}}
			if bounded {
				s.Mode.ReplicatedJob.MaxConcurrent = new(integer(t, concurrent))
			}
		case "global-job":
			s.Mode = api.ServiceMode{GlobalJob: &api.GlobalJob{}}
		case "parallelism":
			s.UpdateConfig.Parallelism = integer(t, value)
		case "delay":
			s.UpdateConfig.Delay = duration(value)
		case "monitor":
			s.UpdateConfig.Monitor = duration(value)
		case "order":
			s.UpdateConfig.Order = api.UpdateOrder(value)
		case "failure":
			s.UpdateConfig.FailureAction = api.FailureAction(value)
		case "ratio":
			s.UpdateConfig.MaxFailureRatio, _ = strconv.ParseFloat(value, 64)
		case "rollback-parallelism":
			s.RollbackConfig.Parallelism = integer(t, value)
		case "restart":
			template.RestartPolicy.Condition = api.RestartCondition(value)
		case "restart-delay":
			template.RestartPolicy.Delay = new(duration(value))
		case "attempts":
			template.RestartPolicy.MaxAttempts = new(integer(t, value))
		case "mem":
			template.Resources = &api.ResourceRequirements{Reservations: &api.Resources{MemoryBytes: int64(integer(t, value)) << 20}}
		case "generic": // generic=gpu:2
			ask, err := api.ParseGenericRequest(strings.ReplaceAll(value, ":", "="))
			if err != nil {
				t.Fatal(err)
			}
			template.Resources = &api.ResourceRequirements{Reservations: &api.Resources{GenericResources: []api.GenericResource{ask}}}
		case "max":
			template.Placement.MaxReplicas = integer(t, value)
		case "where":
			template.Placement.Constraints = []string{value}
		case "device":
			template.ContainerSpec.Devices = []api.Device{{PathOnHost: value}}
		case "anywhere":
			template.Placement.Constraints = nil
		case "port":
			s.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: uint16(integer(t, value)), PublishMode: api.PublishHost}}}
		case "force":
			template.ForceUpdate++
		default:
			t.Fatalf("spec: unknown word %q", word)
		}
	}
	return s
}
