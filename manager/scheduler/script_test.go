package scheduler

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/script"
	"github.com/edgeswarm/edgeswarm/store"
)

func TestTranscripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(t *testing.T) func(string) string {
		v := store.NewView()
		return func(line string) string {
			words := strings.Fields(line)
			switch words[0] {
			case "fleet":
				v = store.NewView()
			case "node":
				v = v.With([]api.Object{parseNode(t, v, words[1], words[2:])}, nil)
			case "task":
				v = v.With([]api.Object{parseTask(t, v, words[1], words[2:])}, nil)
			case "network":
				v = v.With([]api.Object{&api.Network{ID: api.NetworkID(words[1]), Spec: api.NetworkSpec{Driver: api.NetworkDriver(words[2])}}}, nil)
			case "rm":
				v = v.With(nil, []api.Object{v.Task(api.TaskID(words[1]))})
			case "place":
				result := Place(v)
				v = v.With(result.Puts, nil)
				if again := Place(v); len(again.Puts) > 0 {
					t.Errorf("%q: placing again changes %d tasks", line, len(again.Puts))
				}
				return describe(result)
			default:
				t.Fatalf("unknown command %q", line)
			}
			return ""
		}
	})
}

func describe(r Result) string {
	if len(r.Puts) == 0 {
		return "nothing to do"
	}
	var out strings.Builder
	for _, obj := range r.Puts {
		task := obj.(*api.Task)
		if task.Status.State == api.TaskPending {
			fmt.Fprintf(&out, "%s waits: %s\n", task.ID, task.Status.Message)
			continue
		}
		fmt.Fprintf(&out, "%s -> %s", task.ID, task.NodeID)
		for _, p := range task.Ports {
			fmt.Fprintf(&out, " %d:%d/%s", p.PublishedPort, p.TargetPort, p.Protocol)
		}
		if len(task.GenericResources) > 0 {
			fmt.Fprintf(&out, " with %s", api.GenericText(task.GenericResources))
		}
		if task.DesiredState != api.TaskRunning {
			fmt.Fprintf(&out, " (%s)", task.DesiredState)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parseNode(t *testing.T, v *store.View, id string, words []string) *api.Node {
	n := &api.Node{
		ID: api.NodeID(id), Status: api.NodeStatus{State: api.NodeReady},
		Spec: api.NodeSpec{Availability: api.AvailabilityActive, Annotations: api.Annotations{Labels: map[string]string{}}},
		Description: api.NodeDescription{
			Hostname: id, Platform: api.Platform{OS: "linux", Architecture: "arm64"},
			Resources: api.Resources{NanoCPUs: 4e9, MemoryBytes: 1 << 30},
		},
	}
	if old := v.Node(n.ID); old != nil {
		n = new(api.Clone(*old))
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "up", "down", "unknown":
			n.Status.State = map[string]api.NodeState{"up": api.NodeReady, "down": api.NodeDown, "unknown": api.NodeUnknown}[key]
		case "active", "drain", "pause":
			n.Spec.Availability = api.Availability(key)
		case "broken":
			n.Description.Engine.RuntimeError = "containerd does not answer"
		case "mem":
			n.Description.Resources.MemoryBytes = number(t, value) << 20
		case "generic": // generic=gpu:A,gpu:B,ssd:3; generic= for none
			n.Description.Resources.GenericResources = parseGeneric(t, value)
		case "cpu":
			n.Description.Resources.NanoCPUs = number(t, value) * 1e9
		case "platform":
			n.Description.Platform = parsePlatform(value)
		case "model":
			n.Description.Model = value
		case "device":
			class, path, _ := strings.Cut(value, ":")
			n.Description.Devices = append(n.Description.Devices, api.BoardDevices{Class: class, Paths: []string{path}})
		case "mesh":
			n.Description.Mesh.Keys = [][]byte{{1}}
		case "volume":
			n.Description.Volumes = append(n.Description.Volumes, value)
		case "wipe":
			n.Description.Volumes = nil
		case "unplug":
			n.Description.Devices = nil
		case "label":
			name, value, _ := strings.Cut(value, ":")
			n.Spec.Labels[name] = value
		default:
			t.Fatalf("node: unknown word %q", word)
		}
	}
	return n
}

func parseGeneric(t *testing.T, text string) []api.GenericResource {
	t.Helper()
	if text == "" {
		return nil
	}
	list, err := api.ParseGenericResources(strings.Split(strings.ReplaceAll(text, ":", "="), ","))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func parsePlatform(text string) api.Platform {
	parts := append(strings.Split(text, "/"), "")
	return api.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func parseTask(t *testing.T, v *store.View, id string, words []string) *api.Task {
	service, slot, _ := strings.Cut(id, ".")
	slot, _, _ = strings.Cut(slot, "-")
	task := &api.Task{
		ID: api.TaskID(id), ServiceID: api.ServiceID(service), ServiceName: service, Slot: int(number(t, slot)), SpecVersion: 1,
		DesiredState: api.TaskRunning, Status: api.TaskStatus{State: api.TaskNew},
		Spec: api.TaskSpec{Placement: &api.Placement{}, Resources: &api.ResourceRequirements{Reservations: &api.Resources{}}},
	}
	if old := v.Task(task.ID); old != nil {
		task = new(api.Clone(*old))
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "node":
			task.NodeID = api.NodeID(value)
		case "network":
			task.Spec.Networks = append(task.Spec.Networks, api.NetworkAttachment{ID: api.NetworkID(value)})
		case "volume":
			task.Spec.ContainerSpec.Mounts = append(task.Spec.ContainerSpec.Mounts, api.Mount{Type: api.MountVolume, Source: value, Target: "/" + value})
		case "mem":
			task.Spec.Resources.Reservations.MemoryBytes = number(t, value) << 20
		case "cpu":
			task.Spec.Resources.Reservations.NanoCPUs = number(t, value) * 1e6
		case "ask": // ask=gpu:2,ssd:1
			task.Spec.Resources.Reservations.GenericResources = parseGeneric(t, value)
		case "has": // what it was given
			task.GenericResources = parseGeneric(t, value)
		case "max":
			task.Spec.Placement.MaxReplicas = uint64(number(t, value))
		case "where":
			task.Spec.Placement.Constraints = append(task.Spec.Placement.Constraints, value)
		case "spread":
			task.Spec.Placement.Preferences = append(task.Spec.Placement.Preferences, api.PlacementPreference{Spread: &api.SpreadOver{SpreadDescriptor: value}})
		case "fails":
			task.Status.RecentFailures = int(number(t, value))
		case "device":
			task.Spec.ContainerSpec.Devices = append(task.Spec.ContainerSpec.Devices, api.Device{PathOnHost: value})
		case "class":
			task.Spec.ContainerSpec.Devices = append(task.Spec.ContainerSpec.Devices, api.Device{Class: value})
		case "platform":
			task.Spec.Placement.Platforms = append(task.Spec.Placement.Platforms, parsePlatform(value))
		case "port":
			published, protocol, _ := strings.Cut(value, "/")
			task.Ports = append(task.Ports, api.PortConfig{
				Protocol: api.Protocol(protocol), PublishMode: api.PublishHost,
				TargetPort: uint16(len(task.Ports) + 80), PublishedPort: uint16(number(t, published)),
			})
		case "replaces":
			task.Replaces = api.TaskID(value)
		case "desired":
			task.DesiredState = api.TaskState(value)
		case "state":
			task.Status.State = api.TaskState(value)
		case "exhausted":
			task.Status.Exhausted = true
		case "version":
			task.SpecVersion = uint64(number(t, value))
		case "failures":
			task.Failures = int(number(t, value))
		default:
			t.Fatalf("task: unknown word %q", word)
		}
	}
	return task
}
