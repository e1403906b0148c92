package api

import "testing"

func TestCurrentGoesByWhatATaskIsMadeOf(t *testing.T) {
	service := &Service{SpecVersion: 3, Spec: ServiceSpec{
		TaskTemplate: TaskSpec{ContainerSpec: ContainerSpec{Image: "web:1"}, Placement: &Placement{Constraints: []string{"node.role==worker"}}},
		EndpointSpec: &EndpointSpec{Ports: []PortConfig{{Protocol: TCP, TargetPort: 80, PublishMode: PublishHost}}},
	}}
	made := func(version uint64, image string, port PortConfig) *Task {
		return &Task{SpecVersion: version, Spec: TaskSpec{ContainerSpec: ContainerSpec{Image: image}}, Ports: []PortConfig{port}}
	}
	chosen := PortConfig{Protocol: TCP, TargetPort: 80, PublishedPort: 30007, PublishMode: PublishHost}
	other := PortConfig{Protocol: TCP, TargetPort: 81, PublishedPort: 30007, PublishMode: PublishHost}
	for name, c := range map[string]struct {
		task *Task
		want bool
	}{
		"of this version":                      {made(3, "web:1", chosen), true},
		"of an earlier one, made of the same":  {made(1, "web:1", chosen), true},
		"of an earlier one, of another image":  {made(2, "web:2", chosen), false},
		"of an earlier one, with another port": {made(2, "web:1", other), false},
	} {
		if got := service.Current(c.task); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
