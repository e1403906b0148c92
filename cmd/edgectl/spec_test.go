package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
)

// same compares by encoding, which is what the fleet sees.
func same(t *testing.T, name string, got, want any) {
	t.Helper()
	a, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%s:\ngot  %s\nwant %s", name, a, b)
	}
}

func specOf(t *testing.T, args ...string) (api.ServiceSpec, error) {
	t.Helper()
	fs := pflag.NewFlagSet("create", pflag.ContinueOnError)
	fs.SetInterspersed(false)
	f := &createFlags{}
	f.register(fs)
	if err := fs.Parse(args); err != nil {
		return api.ServiceSpec{}, err
	}
	return f.spec(fs.Arg(0), fs.Args()[1:])
}

func ptr[T any](v T) *T { return &v }

func TestASpecWithNothingGivenIsSwarmsDefault(t *testing.T) {
	got, err := specOf(t, "nginx")
	if err != nil {
		t.Fatal(err)
	}
	want := api.ServiceSpec{
		Mode:         api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: ptr(uint64(1))}},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "nginx"}},
	}
	same(t, "spec", got, want)
}

func TestEveryCreateFlagReachesTheSpec(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("A=file\nB=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGE_TEST_HERE", "here")
	got, err := specOf(t, "--name", "web", "--replicas", "6", "--replicas-max-per-node", "2", "--env-file", file, "-e", "A=flag", "--env", "EDGE_TEST_HERE", "-e", "EDGE_TEST_NOT_SET",
		"--mount", "type=bind,src=/a,dst=/b,readonly", "-p", "mode=host,target=80,published=8080", "--limit-cpu", "0.5", "--limit-memory", "64m", "--reserve-cpu", "0.25", "--reserve-memory", "32m",
		"--restart-condition", "on-failure", "--restart-delay", "1s", "--restart-max-attempts", "3", "--restart-window", "1m",
		"--constraint", "node.role==worker", "--constraint", "node.labels.zone != attic", "--placement-pref", "spread=node.labels.zone", "-l", "tier=front", "--label", "x", "--container-label", "c=d",
		"--hostname", "web.local", "-w", "/srv", "-u", "1000:1000", "--read-only", "--stop-signal", "int", "--stop-grace-period", "30s", "--entrypoint", "sh -c 'a b'",
		"--update-parallelism", "2", "--update-delay", "10s", "--update-failure-action", "rollback", "--update-monitor", "20s", "--update-max-failure-ratio", "0.2", "--update-order", "start-first",
		"--rollback-parallelism", "0", "--generic-resource", "gpu=2", "--generic-resource", "ssd=1", "nginx:1.27", "serve", "--port", "80", "-d")
	if err != nil {
		t.Fatal(err)
	}
	want := api.ServiceSpec{
		Annotations: api.Annotations{Name: "web", Labels: map[string]string{"tier": "front", "x": ""}},
		Mode:        api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: ptr(uint64(6))}},
		TaskTemplate: api.TaskSpec{
			ContainerSpec: api.ContainerSpec{
				Image: "nginx:1.27", Command: []string{"sh", "-c", "a b"}, Args: []string{"serve", "--port", "80", "-d"}, Labels: map[string]string{"c": "d"},
				Env:      []string{"A=flag", "B=file", "EDGE_TEST_HERE=here"},
				Hostname: "web.local", Dir: "/srv", User: "1000:1000", ReadOnly: true, StopSignal: "SIGINT", StopGracePeriod: ptr(30 * time.Second),
				Mounts: []api.Mount{{Type: api.MountBind, Source: "/a", Target: "/b", ReadOnly: true}},
			},
			Resources: &api.ResourceRequirements{
				Limits: &api.Resources{NanoCPUs: 5e8, MemoryBytes: 64 << 20}, Reservations: &api.Resources{NanoCPUs: 25e7, MemoryBytes: 32 << 20, GenericResources: []api.GenericResource{asked("gpu", 2), asked("ssd", 1)}},
			},
			RestartPolicy: &api.RestartPolicy{Condition: api.RestartOnFailure, Delay: ptr(time.Second), MaxAttempts: ptr(uint64(3)), Window: ptr(time.Minute)},
			Placement:     &api.Placement{Constraints: []string{"node.role==worker", "node.labels.zone!=attic"}, Preferences: []api.PlacementPreference{{Spread: &api.SpreadOver{SpreadDescriptor: "node.labels.zone"}}}, MaxReplicas: 2},
		},
		UpdateConfig: &api.UpdateConfig{
			Parallelism: 2, Delay: 10 * time.Second, FailureAction: api.FailureRollback, Monitor: 20 * time.Second, MaxFailureRatio: 0.2, Order: api.StartFirst,
		},
		RollbackConfig: &api.UpdateConfig{Parallelism: 0, FailureAction: api.FailurePause, Monitor: 5 * time.Second, Order: api.StopFirst},
		EndpointSpec:   &api.EndpointSpec{Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: 8080, PublishMode: api.PublishHost}}},
	}
	same(t, "spec", got, want)
}

func asked(kind string, n int64) api.GenericResource {
	return api.GenericResource{DiscreteResourceSpec: &api.DiscreteGenericResource{Kind: kind, Value: n}}
}

func TestOtherSpecs(t *testing.T) {
	got, err := specOf(t, "--mode", "global", "--network", "host", "--parallelism", "3", "--delay", "1s", "x")
	if err != nil {
		t.Fatal(err)
	}
	want := api.ServiceSpec{
		Mode:         api.ServiceMode{Global: &api.GlobalService{}},
		TaskTemplate: api.TaskSpec{ContainerSpec: api.ContainerSpec{Image: "x"}, Networks: []api.NetworkAttachment{{Target: api.NetworkHost}}},
		UpdateConfig: &api.UpdateConfig{Parallelism: 3, Delay: time.Second, FailureAction: api.FailurePause, Monitor: 5 * time.Second, Order: api.StopFirst},
	}
	same(t, "spec", got, want)
}

func patchOf(t *testing.T, args ...string) (api.ServicePatch, error) {
	t.Helper()
	fs := pflag.NewFlagSet("update", pflag.ContinueOnError)
	f := &changeFlags{}
	f.register(fs)
	if err := fs.Parse(args); err != nil {
		return api.ServicePatch{}, err
	}
	return f.patch()
}

func TestAPatchHasOnlyWhatWasGiven(t *testing.T) {
	for _, c := range []struct {
		args []string
		want api.ServicePatch
	}{
		{nil, api.ServicePatch{}},
		{[]string{"--parallelism", "2", "--delay", "10s"}, api.ServicePatch{Update: &api.UpdateConfigPatch{Parallelism: ptr(uint64(2)), Delay: ptr(10 * time.Second)}}},
		{[]string{"--update-parallelism", "2", "--parallelism", "2"}, api.ServicePatch{Update: &api.UpdateConfigPatch{Parallelism: ptr(uint64(2))}}},
		{[]string{"--replicas", "0", "--limit-memory", "0"}, api.ServicePatch{Replicas: ptr(uint64(0)), Limits: &api.ResourcesPatch{MemoryBytes: ptr(int64(0))}}},
		{[]string{"--hostname", "", "--args", "", "--read-only=false"}, api.ServicePatch{Hostname: ptr(""), Args: &[]string{}, ReadOnly: ptr(false)}},
		{[]string{"--network-rm", "host"}, api.ServicePatch{NetworkRemove: []string{"host"}}},
		{[]string{"--network-add", "name=back,alias=db,alias=store", "--endpoint-mode", "dnsrr"}, api.ServicePatch{
			NetworkAdd: []api.NetworkAttachment{{Target: "back", Aliases: []string{"db", "store"}}}, EndpointMode: new(api.ResolutionDNSRR),
		}},
		{[]string{"--network-add", "host"}, api.ServicePatch{NetworkAdd: []api.NetworkAttachment{{Target: "host"}}}},
		{[]string{"--force"}, api.ServicePatch{Force: true}},
	} {
		got, err := patchOf(t, c.args...)
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
		same(t, "patch", got, c.want)
	}
}

func TestEveryUpdateFlagReachesThePatch(t *testing.T) {
	got, err := patchOf(t, "--image", "web:2", "--args", "serve --port '8 0'", "--entrypoint", "run", "--replicas", "3", "--replicas-max-per-node", "1",
		"--env-add", "A=1", "--env-rm", "B", "--label-add", "a=b", "--label-rm", "c", "--container-label-add", "d=e", "--container-label-rm", "f",
		"--mount-add", "src=data,dst=/data", "--mount-rm", "/old", "--publish-add", "mode=host,target=80", "--publish-rm", "81/udp", "--constraint-add", "node.role==worker",
		"--constraint-rm", "node.role != worker", "--placement-pref-add", "spread=node.labels.zone", "--placement-pref-rm", "spread=node.hostname", "--limit-cpu", "1", "--reserve-memory", "8m", "--restart-condition", "none", "--restart-delay", "1s", "--restart-max-attempts", "2", "--restart-window", "3s",
		"--stop-signal", "SIGHUP", "--stop-grace-period", "4s", "-u", "me", "-w", "/x", "--hostname", "h",
		"--update-order", "start-first", "--update-max-failure-ratio", "0.5", "--update-monitor", "5s", "--update-failure-action", "continue", "--rollback-delay", "6s", "--generic-resource-add", "gpu=1", "--generic-resource-rm", "ssd")
	if err != nil {
		t.Fatal(err)
	}
	want := api.ServicePatch{
		LabelAdd: map[string]string{"a": "b"}, LabelRemove: []string{"c"}, Image: ptr("web:2"), Command: &[]string{"run"}, Args: &[]string{"serve", "--port", "8 0"},
		Hostname: ptr("h"), Dir: ptr("/x"), User: ptr("me"), EnvAdd: []string{"A=1"}, EnvRemove: []string{"B"},
		ContainerLabelAdd: map[string]string{"d": "e"}, ContainerLabelRemove: []string{"f"},
		MountAdd: []api.Mount{{Type: api.MountVolume, Source: "data", Target: "/data"}}, MountRemove: []string{"/old"},
		PublishAdd:    []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishMode: api.PublishHost}},
		PublishRemove: []api.PortConfig{{Protocol: api.UDP, TargetPort: 81}},
		ConstraintAdd: []string{"node.role==worker"}, ConstraintRemove: []string{"node.role!=worker"},
		PreferenceAdd:    []api.PlacementPreference{{Spread: &api.SpreadOver{SpreadDescriptor: "node.labels.zone"}}},
		PreferenceRemove: []api.PlacementPreference{{Spread: &api.SpreadOver{SpreadDescriptor: "node.hostname"}}}, MaxReplicas: ptr(uint64(1)),
		Limits: &api.ResourcesPatch{NanoCPUs: ptr(int64(1e9))}, Reservations: &api.ResourcesPatch{MemoryBytes: ptr(int64(8 << 20))},
		GenericResourceAdd: []api.GenericResource{asked("gpu", 1)}, GenericResourceRemove: []string{"ssd"},
		RestartCondition: ptr(api.RestartNone), RestartDelay: ptr(time.Second), RestartMaxAttempts: ptr(uint64(2)), RestartWindow: ptr(3 * time.Second),
		StopSignal: ptr("SIGHUP"), StopGracePeriod: ptr(4 * time.Second), Replicas: ptr(uint64(3)),
		Update:   &api.UpdateConfigPatch{FailureAction: ptr(api.FailureContinue), Monitor: ptr(5 * time.Second), MaxFailureRatio: ptr(0.5), Order: ptr(api.StartFirst)},
		Rollback: &api.UpdateConfigPatch{Delay: ptr(6 * time.Second)},
	}
	same(t, "patch", got, want)
}
