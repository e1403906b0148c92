package api

import (
	"reflect"
	"testing"
	"time"
)

func TestMergeLeavesTheAbsentAlone(t *testing.T) {
	for _, spec := range []ServiceSpec{{}, validSpec(), validSpec().Defaults()} {
		got, err := spec.Merge(ServicePatch{})
		if err != nil || !reflect.DeepEqual(got, spec) {
			t.Errorf("an empty patch makes %+v of %+v (%v)", got, spec, err)
		}
	}
}

func TestMerge(t *testing.T) {
	spec := validSpec()
	spec.TaskTemplate.ContainerSpec.Env = []string{"A=1", "B=2", "C=3"}
	spec.Labels = map[string]string{"keep": "1", "go": "2"}
	spec.TaskTemplate.Placement = &Placement{Constraints: []string{"node.role==worker", "node.labels.zone==attic"}}
	spec.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{NanoCPUs: 5}, Reservations: &Resources{MemoryBytes: 7}}
	spec.TaskTemplate.Networks = []NetworkAttachment{{Target: "front"}, {Target: "back", ID: "b"}, {Target: "side", ID: "id-of-side"}}
	before := Clone(spec)
	got, err := spec.Merge(ServicePatch{
		LabelAdd: map[string]string{"new": "3"}, LabelRemove: []string{"go", "unknown"},
		Image: new("web:2"), Command: &[]string{}, Args: &[]string{"-v"},
		EnvAdd: []string{"B=two", "D=4", "D=5"}, EnvRemove: []string{"A"},
		MountAdd: []Mount{{Type: MountTmpfs, Target: "/data"}}, MountRemove: []string{"/b"},
		PublishAdd:    []PortConfig{{TargetPort: 81, PublishedPort: 8081, PublishMode: PublishHost, Protocol: TCP}, {TargetPort: 80, Protocol: UDP, PublishMode: PublishHost}},
		PublishRemove: []PortConfig{{TargetPort: 80}},
		ConstraintAdd: []string{"node.id != x"}, ConstraintRemove: []string{"node.role == worker"}, MaxReplicas: new(uint64(2)),
		NetworkAdd: []NetworkAttachment{{Target: "back", Aliases: []string{"db"}}, {Target: "new"}}, NetworkRemove: []string{"front", "id-of-side"}, EndpointMode: new(ResolutionDNSRR),
		Limits: &ResourcesPatch{NanoCPUs: new(int64(0))}, Reservations: &ResourcesPatch{NanoCPUs: new(int64(1))},
		RestartDelay: new(time.Second), Replicas: new(uint64(9)), Force: true,
		Update: &UpdateConfigPatch{Parallelism: new(uint64(0)), Order: new(StopFirst)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(spec, before) {
		t.Error("merging changed the spec that was merged into")
	}
	want := Clone(before)
	want.Labels = map[string]string{"keep": "1", "new": "3"}
	c := &want.TaskTemplate.ContainerSpec
	c.Image, c.Command, c.Args, c.Env = "web:2", []string{}, []string{"-v"}, []string{"B=two", "C=3", "D=5"}
	c.Mounts = []Mount{{Type: MountTmpfs, Target: "/data"}, {Type: MountTmpfs, Target: "/tmp"}}
	want.EndpointSpec.Ports = []PortConfig{
		{TargetPort: 81, PublishedPort: 8081, PublishMode: PublishHost, Protocol: TCP}, {TargetPort: 80, Protocol: UDP, PublishMode: PublishHost},
	}
	want.TaskTemplate.Placement = &Placement{Constraints: []string{"node.labels.zone==attic", "node.id != x"}, MaxReplicas: 2}
	want.TaskTemplate.Networks = []NetworkAttachment{{Target: "back", Aliases: []string{"db"}}, {Target: "new"}}
	want.EndpointSpec.Mode = ResolutionDNSRR
	want.TaskTemplate.Resources = &ResourceRequirements{Reservations: &Resources{NanoCPUs: 1, MemoryBytes: 7}}
	want.TaskTemplate.RestartPolicy = &RestartPolicy{Delay: new(time.Second)}
	want.TaskTemplate.ForceUpdate = 1
	want.Mode.Replicated = &ReplicatedService{new(uint64(9))}
	want.UpdateConfig = &UpdateConfig{Parallelism: 0, FailureAction: FailurePause, Monitor: DefaultMonitor, Order: StopFirst}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestMergeRefuses(t *testing.T) {
	global := ServiceSpec{Mode: ServiceMode{Global: &GlobalService{}}}
	_, err := global.Merge(ServicePatch{Replicas: new(uint64(2))})
	refused(t, "Replicas", err)
	_, err = validSpec().Merge(ServicePatch{ConstraintAdd: []string{"zone=attic"}})
	refused(t, "ConstraintAdd", err)
}

// FuzzMergeValidate feeds specs and patches as a hostile peer might send them.
func FuzzMergeValidate(f *testing.F) {
	spec, _ := Encode(validSpec().Defaults())
	for _, patch := range []ServicePatch{
		{}, {Image: new("a"), EnvAdd: []string{"A=1"}, MountRemove: []string{"/b"}, Replicas: new(uint64(3))},
		{PublishAdd: []PortConfig{{TargetPort: 1}}, ConstraintAdd: []string{"node.id==x"}, Limits: &ResourcesPatch{MemoryBytes: new(int64(-1))}},
		{Update: &UpdateConfigPatch{Delay: new(time.Second)}, LabelAdd: map[string]string{"a": "b"}, NetworkAdd: []NetworkAttachment{{Target: "x"}}, Force: true},
	} {
		raw, _ := Encode(patch)
		f.Add(spec, raw)
	}
	f.Fuzz(func(t *testing.T, rawSpec, rawPatch []byte) {
		var spec ServiceSpec
		var patch ServicePatch
		if Decode(rawSpec, &spec) != nil || Decode(rawPatch, &patch) != nil {
			return
		}
		merged, err := spec.Merge(patch)
		if err != nil {
			if KindOf(err) != Invalid {
				t.Fatalf("%v is of kind %s", err, KindOf(err))
			}
			return
		}
		full := merged.Defaults()
		if err := full.Validate(); err != nil && KindOf(err) != Invalid {
			t.Fatalf("%v is of kind %s", err, KindOf(err))
		}
		if merged.Validate() == nil && full.Validate() != nil {
			t.Fatalf("a valid spec is not with defaults: %v", full.Validate())
		}
	})
}
