package api

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func validSpec() ServiceSpec {
	return ServiceSpec{
		Annotations: Annotations{Name: "web"},
		TaskTemplate: TaskSpec{ContainerSpec: ContainerSpec{
			Image: "web:1", Env: []string{"A=1", "EMPTY="}, StopSignal: "SIGTERM", Dir: "/srv", User: "1000:1000", Hostname: "Web.Example",
			Mounts: []Mount{{Type: MountBind, Source: "/a", Target: "/b"}, {Type: MountVolume, Source: "data", Target: "/data"}, {Type: MountTmpfs, Target: "/tmp"}},
		}},
		EndpointSpec: &EndpointSpec{Ports: []PortConfig{{TargetPort: 80, PublishedPort: 8080, PublishMode: PublishHost}, {TargetPort: 81, PublishMode: PublishHost}}},
	}
}

func TestServiceSpecValidate(t *testing.T) {
	for _, spec := range []ServiceSpec{validSpec(), validSpec().Defaults()} {
		if err := spec.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	container := func(change func(*ContainerSpec)) func(*ServiceSpec) {
		return func(s *ServiceSpec) { change(&s.TaskTemplate.ContainerSpec) }
	}
	ports := func(list ...PortConfig) func(*ServiceSpec) {
		return func(s *ServiceSpec) { s.EndpointSpec.Ports = list }
	}
	mount := func(m Mount) func(*ServiceSpec) {
		return container(func(c *ContainerSpec) { c.Mounts = []Mount{m} })
	}
	for _, c := range []struct {
		field  string
		change func(*ServiceSpec)
	}{
		{"Name", func(s *ServiceSpec) { s.Name = "" }},
		{"Name", func(s *ServiceSpec) { s.Name = "-web" }},
		{"Name", func(s *ServiceSpec) { s.Name = "web_1" }},
		{"Name", func(s *ServiceSpec) { s.Name = "web.1" }},
		{"Name", func(s *ServiceSpec) { s.Name = "Web" }},
		{"Name", func(s *ServiceSpec) { s.Name = strings.Repeat("a", 64) }},
		{"Labels", func(s *ServiceSpec) { s.Labels = map[string]string{"a b": ""} }},
		{"Mode", func(s *ServiceSpec) { s.Mode = ServiceMode{Replicated: &ReplicatedService{}, Global: &GlobalService{}} }},
		{"Mode.Replicated.Replicas", func(s *ServiceSpec) { s.Mode.Replicated = &ReplicatedService{new(uint64(MaxReplicas + 1))} }},
		{"TaskTemplate.ContainerSpec.Image", container(func(c *ContainerSpec) { c.Image = " " })},
		{"TaskTemplate.ContainerSpec.Env", container(func(c *ContainerSpec) { c.Env = []string{"A"} })},
		{"TaskTemplate.ContainerSpec.Env", container(func(c *ContainerSpec) { c.Env = []string{"=1"} })},
		{"TaskTemplate.ContainerSpec.Env", container(func(c *ContainerSpec) { c.Env = []string{"A=\x00"} })},
		{"TaskTemplate.ContainerSpec.Command", container(func(c *ContainerSpec) { c.Args = []string{"\x00"} })},
		{"TaskTemplate.ContainerSpec.Dir", container(func(c *ContainerSpec) { c.Dir = "srv" })},
		{"TaskTemplate.ContainerSpec.User", container(func(c *ContainerSpec) { c.User = "a b" })},
		{"TaskTemplate.ContainerSpec.Hostname", container(func(c *ContainerSpec) { c.Hostname = "a..b" })},
		{"TaskTemplate.ContainerSpec.StopSignal", container(func(c *ContainerSpec) { c.StopSignal = "kill it" })},
		{"TaskTemplate.ContainerSpec.StopGracePeriod", container(func(c *ContainerSpec) { c.StopGracePeriod = new(-time.Second) })},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountBind, Source: "/a", Target: "b"})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountBind, Source: "/a", Target: "/x/.."})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountBind, Source: "a", Target: "/b"})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountVolume, Source: "../etc", Target: "/b"})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountTmpfs, Source: "a", Target: "/b"})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: "nfs", Source: "a", Target: "/b"})},
		{"TaskTemplate.ContainerSpec.Mounts", mount(Mount{Type: MountTmpfs, Target: "/b", TmpfsOptions: &TmpfsOptions{SizeBytes: -1}})},
		{"TaskTemplate.ContainerSpec.Mounts", container(func(c *ContainerSpec) { c.Mounts = append(c.Mounts, Mount{Type: MountTmpfs, Target: "/b/"}) })},
		{"TaskTemplate.Resources.Limits.MemoryBytes", func(s *ServiceSpec) {
			s.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{MemoryBytes: 1}, Reservations: &Resources{MemoryBytes: 2}}
		}},
		{"TaskTemplate.Resources.Limits.NanoCPUs", func(s *ServiceSpec) {
			s.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{NanoCPUs: 1}, Reservations: &Resources{NanoCPUs: 2}}
		}},
		{"TaskTemplate.Resources.Reservations.NanoCPUs", func(s *ServiceSpec) {
			s.TaskTemplate.Resources = &ResourceRequirements{Reservations: &Resources{NanoCPUs: -1}}
		}},
		{"TaskTemplate.RestartPolicy.Condition", func(s *ServiceSpec) { s.TaskTemplate.RestartPolicy = &RestartPolicy{Condition: "always"} }},
		{"TaskTemplate.RestartPolicy.Delay", func(s *ServiceSpec) { s.TaskTemplate.RestartPolicy = &RestartPolicy{Delay: new(-time.Second)} }},
		{"TaskTemplate.Placement.Constraints", func(s *ServiceSpec) { s.TaskTemplate.Placement = &Placement{Constraints: []string{"node.os==linux"}} }},
		{"TaskTemplate.Networks", func(s *ServiceSpec) {
			s.TaskTemplate.Networks = []NetworkAttachment{{Target: "back"}, {Target: NetworkHost}}
		}},
		{"TaskTemplate.Networks", func(s *ServiceSpec) {
			s.TaskTemplate.Networks = []NetworkAttachment{{Target: "back"}, {Target: "back"}}
		}},
		{"TaskTemplate.Networks", func(s *ServiceSpec) {
			s.TaskTemplate.Networks = []NetworkAttachment{{Target: "back", Aliases: []string{"no_label"}}}
		}},
		{"TaskTemplate.Networks", func(s *ServiceSpec) {
			s.TaskTemplate.Networks = []NetworkAttachment{{Target: NetworkHost, Aliases: []string{"db"}}}
		}},
		{"EndpointSpec.Mode", func(s *ServiceSpec) { s.EndpointSpec = &EndpointSpec{Mode: "lottery"} }},
		{"UpdateConfig.Delay", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{Delay: -1} }},
		{"UpdateConfig.Monitor", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{Monitor: -1} }},
		{"UpdateConfig.MaxFailureRatio", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{MaxFailureRatio: 1.1} }},
		{"UpdateConfig.MaxFailureRatio", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{MaxFailureRatio: math.NaN()} }},
		{"UpdateConfig.FailureAction", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{FailureAction: "cry"} }},
		{"UpdateConfig.Order", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{Order: "any"} }},
		{"RollbackConfig.FailureAction", func(s *ServiceSpec) { s.RollbackConfig = &UpdateConfig{FailureAction: FailureRollback} }},
		{"EndpointSpec.Ports", func(s *ServiceSpec) { s.UpdateConfig = &UpdateConfig{Order: StartFirst} }},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: 80, PublishMode: "everywhere"})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: 80, Address: netip.MustParsePrefix("fd00::/64")})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: 80, Address: netip.MustParsePrefix("10.0.0.1/8")})},
		{"EndpointSpec.Ports", func(s *ServiceSpec) {
			s.TaskTemplate.Networks, s.UpdateConfig = []NetworkAttachment{{Target: NetworkHost}}, nil
			s.EndpointSpec.Ports = []PortConfig{{TargetPort: 80, PublishedPort: 80}}
		}},
		{"EndpointSpec.Ports", ports(PortConfig{PublishedPort: 80, PublishMode: PublishHost})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, Protocol: "sctp", PublishMode: PublishHost})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: DefaultPort, Protocol: UDP, PublishMode: PublishHost})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: 80, PublishMode: PublishHost}, PortConfig{TargetPort: 81, PublishedPort: 80, PublishMode: PublishHost})},
		{"EndpointSpec.Ports", ports(PortConfig{TargetPort: 80, PublishedPort: 80, PublishMode: PublishHost}, PortConfig{TargetPort: 80, PublishedPort: 81, PublishMode: PublishHost})},
		{"spec", container(func(c *ContainerSpec) { c.Args = []string{strings.Repeat("x", maxSpecSize)} })},
	} {
		spec := Clone(validSpec())
		c.change(&spec)
		refused(t, c.field, spec.Validate())
	}
}

// refused checks that err is Invalid, names the field and is one line.
func refused(t *testing.T, field string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("no error about %s", field)
	} else if KindOf(err) != Invalid || !strings.HasPrefix(err.Error(), field+": ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q (%s) is not one line of kind invalid about %s", err, KindOf(err), field)
	}
}

func TestStartFirstWithAChosenPortIsFine(t *testing.T) {
	spec := validSpec()
	spec.UpdateConfig = &UpdateConfig{Order: StartFirst}
	spec.EndpointSpec.Ports = []PortConfig{{TargetPort: 80, PublishMode: PublishHost}}
	if err := spec.Validate(); err != nil {
		t.Error(err)
	}
}

func TestNodeAndClusterSpecValidate(t *testing.T) {
	for field, spec := range map[string]NodeSpec{
		"Name":         {Annotations: Annotations{Name: "under_score"}},
		"Labels":       {Annotations: Annotations{Labels: map[string]string{"": "x"}}},
		"Role":         {Role: "king"},
		"Availability": {Availability: "busy"},
	} {
		refused(t, field, spec.Validate())
	}
	for field, spec := range map[string]ClusterSpec{
		"Managers":                  {Managers: 2},
		"NodeCertExpiry":            {NodeCertExpiry: time.Second},
		"HeartbeatPeriod":           {HeartbeatPeriod: time.Hour},
		"TaskHistoryRetentionLimit": {TaskHistoryRetentionLimit: new(int64(-1))},
	} {
		refused(t, field, spec.Validate())
	}
	if err := (NodeSpec{}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (ClusterSpec{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestDefaultsAreSwarms(t *testing.T) {
	got := ServiceSpec{}.Defaults()
	want := ServiceSpec{
		Mode: ServiceMode{Replicated: &ReplicatedService{new(uint64(1))}},
		TaskTemplate: TaskSpec{
			ContainerSpec: ContainerSpec{StopGracePeriod: new(10 * time.Second)},
			RestartPolicy: &RestartPolicy{Condition: RestartAny, Delay: new(5 * time.Second), MaxAttempts: new(uint64), Window: new(time.Duration)},
		},
		UpdateConfig:   &UpdateConfig{Parallelism: 1, FailureAction: FailurePause, Monitor: 5 * time.Second, Order: StopFirst},
		RollbackConfig: &UpdateConfig{Parallelism: 1, FailureAction: FailurePause, Monitor: 5 * time.Second, Order: StopFirst},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := got.Defaults(); !reflect.DeepEqual(again, got) {
		t.Error("defaults of a full spec change it")
	}
}

func TestLabelsAreBounded(t *testing.T) {
	for size, fine := range map[int]bool{maxLabels: true, maxLabels + 1: false} {
		labels := map[string]string{"a": strings.Repeat("x", size/2-1), "b": strings.Repeat("x", size-size/2-1)}
		for noun, err := range map[string]error{
			"node": NodeSpec{Annotations: Annotations{Labels: labels}}.Validate(), "fleet": ClusterSpec{Annotations: Annotations{Labels: labels}}.Validate(),
		} {
			if (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "Labels") {
				t.Errorf("%d bytes of a %s's labels: %v", size, noun, err)
			}
		}
	}
}
