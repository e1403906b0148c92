package control

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
)

// dial serves the bench over gRPC, with the limits of the wire.
func (b *bench) dial(t *testing.T) *api.ControlClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	server := grpc.NewServer(api.ServerOptions()...)
	server.RegisterService(&api.ControlDesc, b.server)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///leader", append(api.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop(); <-done })
	return api.NewControlClient(conn)
}

func TestLargestServiceIsListedAndWatched(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		var tasks []api.Object
		for i := range api.MaxReplicas {
			task := b.task(api.TaskID(fmt.Sprintf("t%05d", i)), s, 1+i/2) // two of each slot
			task.Spec = s.Spec.TaskTemplate
			task.Spec.ContainerSpec.Args = []string{strings.Repeat("x", 1<<10)}
			tasks = append(tasks, task)
		}
		slices.Reverse(tasks)
		b.Put(t, tasks...)
		client := b.dial(t)
		for _, r := range []*api.ListTasksRequest{{}, {Service: "web"}, {Node: "b"}} {
			resp, err := client.ListTasks(b.ctx, r)
			if err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
			if len(resp.Tasks) != api.MaxReplicas || !slices.IsSortedFunc(resp.Tasks, taskOrder) {
				t.Errorf("%+v: %d tasks, in order: %v", r, len(resp.Tasks), slices.IsSortedFunc(resp.Tasks, taskOrder))
			}
			seen := map[api.TaskID]bool{}
			for _, task := range resp.Tasks {
				seen[task.ID] = true
			}
			if len(seen) != api.MaxReplicas || resp.Tasks[0].Spec.ContainerSpec.Image != "web:1@"+idOne {
				t.Errorf("%+v: %d different tasks of image %q", r, len(seen), resp.Tasks[0].Spec.ContainerSpec.Image)
			}
		}
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		stream, err := client.WatchService(ctx, &api.GetServiceRequest{Service: "web"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := stream.Recv()
		if err != nil || len(p.Tasks) != api.MaxReplicas || p.Service == nil || p.Nodes["b"] != "two" || !p.Service.Current(p.Tasks[0]) {
			t.Fatalf("watched: %v", err)
		}
	})
}

func TestAllServicesAreListed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		client := b.dial(t)
		for i := range 30 {
			s := spec(fmt.Sprintf("web%02d", 29-i), "web:1", 1)
			s.TaskTemplate.ContainerSpec.Args = []string{strings.Repeat("x", 200<<10)}
			if _, err := client.CreateService(b.ctx, &api.CreateServiceRequest{RequestID: api.NewID[api.RequestID](), Spec: s}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := client.ListServices(b.ctx, &api.ListServicesRequest{})
		if err != nil || len(resp.Services) != 30 {
			t.Fatalf("%d services, %v", len(resp.Services), err)
		}
		for i, s := range resp.Services {
			if s.Service.Spec.Name != fmt.Sprintf("web%02d", i) {
				t.Errorf("number %d is %s", i, s.Service.Spec.Name)
			}
		}
	})
}

// What its tasks are made of is judged by who has all of it: an update that was
// taken back leaves tasks of another version that are current all the same.
func TestWatcherIsToldWhichTasksAreCurrent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		s := b.create(t, "web")
		same, other := b.task("same", s, 1), b.task("other", s, 2)
		same.Spec, other.Spec = s.Spec.TaskTemplate, s.Spec.TaskTemplate
		same.Spec.ContainerSpec.Args = []string{"a"}
		next := *s
		next.SpecVersion += 2
		next.Spec.TaskTemplate.ContainerSpec.Args = []string{"a"}
		other.SpecVersion++
		other.Spec.ContainerSpec.Args = []string{"b"}
		b.Put(t, &next, same, other)
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		stream, err := b.dial(t).WatchService(ctx, &api.GetServiceRequest{Service: "web"})
		if err != nil {
			t.Fatal(err)
		}
		p, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range p.Tasks {
			if got := p.Service.Current(task); got != (task.ID == "same") || len(task.Spec.ContainerSpec.Args) != 0 {
				t.Errorf("%s: current %v, arguments %q", task.ID, got, task.Spec.ContainerSpec.Args)
			}
		}
	})
}

// More nodes and images than one message takes are listed all the same, each
// once: with equal names, with none, and with long ones.
func TestAllNodesAndImagesAreListed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		client := b.dial(t)
		var many []api.Object
		const nodes, images = 700, 300
		for i := range nodes {
			node := managertest.Node(api.NodeID(fmt.Sprintf("n%04d", (i*37)%nodes)), fmt.Sprint("board", i%5))
			node.Description.Engine.RuntimeError = strings.Repeat("e", 8<<10)
			many = append(many, node)
		}
		for i := range images {
			image := image(api.ImageID(fmt.Sprintf("sha256:%064d", i)))
			for n := range i % 4 {
				image.Names = append(image.Names, fmt.Sprintf("%s/%d:%d", strings.Repeat("r", 8<<10), i, n))
			}
			many = append(many, image)
		}
		b.Put(t, many...)
		listed, err := client.ListNodes(b.ctx, &api.ListNodesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for i, n := range listed.Nodes {
			ids[string(n.ID)] = true
			if i > 0 && n.Name() < listed.Nodes[i-1].Name() {
				t.Errorf("%s comes behind %s", n.Name(), listed.Nodes[i-1].Name())
			}
		}
		if want := nodes + 3; len(ids) != want || len(listed.Nodes) != want {
			t.Errorf("%d nodes, %d different, of %d", len(listed.Nodes), len(ids), want)
		}
		kept, err := client.ListImages(b.ctx, &api.ListImagesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ids = map[string]bool{}
		for _, i := range kept.Images {
			ids[string(i.ID)] = true
		}
		if want := images + 1; len(ids) != want || len(kept.Images) != want {
			t.Errorf("%d images, %d different, of %d", len(kept.Images), len(ids), want)
		}
	})
}
