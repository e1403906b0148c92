package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

// fleet is a node with a fleet behind it: fixed answers, and what was asked.
// A test replaces the answers it is about.
type fleet struct {
	api.ControlServer // the methods that no test needs panic
	api.BoardServer

	board    *api.BoardStatus
	nodes    []*api.Node
	services []api.ServiceSummary
	tasks    []*api.Task
	images   []*api.Image
	watch    func(call int, stream grpc.ServerStreamingServer[api.ServiceProgress]) error
	load     func(grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error
	exec     func(grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error
	logs     []*api.LogLine
	volumes  []api.Volume
	events   func(call int, r *api.EventsRequest, s grpc.ServerStreamingServer[api.EventsPage]) error
	usage    func(call int, r *api.UsageRequest) (*api.UsageResponse, error)
	findings []api.Finding
	fail     func(method string) error // before anything is done

	mu      sync.Mutex
	asked   []any // writing requests, in order
	done    map[api.RequestID]bool
	watches int
	looks   int
}

// fakeGeneric is what board1 has to give; the others have nothing.
func fakeGeneric(name string) []api.GenericResource {
	if name != "board1" {
		return nil
	}
	return []api.GenericResource{
		{NamedResourceSpec: &api.NamedGenericResource{Kind: "gpu", Value: "U1"}}, {NamedResourceSpec: &api.NamedGenericResource{Kind: "gpu", Value: "U2"}},
		{DiscreteResourceSpec: &api.DiscreteGenericResource{Kind: "ssd", Value: 3}},
	}
}

// newFleet is three boards, one of them down, and two services.
func newFleet() *fleet {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	node := func(id, name string, state api.NodeState, m *api.ManagerStatus) *api.Node {
		return &api.Node{
			ID: api.NodeID(id + strings.Repeat("0", api.IDLength-len(id))), Meta: api.Meta{Version: api.Version{Index: 3}},
			Spec: api.NodeSpec{Role: api.RoleAuto, Availability: api.AvailabilityActive},
			Description: api.NodeDescription{
				Hostname: name, Platform: api.Platform{OS: "linux", Architecture: "arm64"}, Resources: api.Resources{NanoCPUs: 4e9, MemoryBytes: 1 << 30, GenericResources: fakeGeneric(name)},
				Engine: api.EngineDescription{EngineVersion: "v0.1.0", Runtime: "containerd 1.6.20"},
				Model:  "Raspberry Pi 4 Model B Rev 1.4", MemoryTotal: 1<<30 + 64<<20,
				Devices: []api.BoardDevices{
					{Class: "camera", Paths: []string{"/dev/video0"}}, {Class: "i2c", Paths: []string{"/dev/i2c-1", "/dev/i2c-20"}}, {Paths: []string{"/dev/fuse"}},
				},
			},
			Status: api.NodeStatus{State: state, Since: ago(5 * time.Minute), Addrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:2377")}}, ManagerStatus: m,
		}
	}
	f := &fleet{done: map[api.RequestID]bool{}}
	f.nodes = []*api.Node{
		node("a1", "board1", api.NodeReady, &api.ManagerStatus{Leader: true, Voter: true, Reachability: api.Reachable, Addr: "10.0.0.1:2377"}),
		node("b2", "board2", api.NodeReady, &api.ManagerStatus{Voter: true, Reachability: api.Reachable}),
		node("c3", "board3", api.NodeDown, &api.ManagerStatus{Voter: true, Reachability: api.Unreachable}),
		node("d4", "board4", api.NodeReady, nil),
	}
	f.nodes[0].PublicKey = []byte("key")
	f.nodes[1].Spec.Labels = map[string]string{"zone": "attic"}
	f.nodes[1].Description.Trouble = "this board can't lead: the log can't be written: no space left on device"
	f.nodes[2].Status.Message = "no heartbeat for 3 s"
	f.nodes[3].Description.Engine.RuntimeError = "containerd does not answer at /run/containerd/containerd.sock"
	f.board = &api.BoardStatus{
		NodeID: f.nodes[1].ID, Hostname: "board2", Version: "v0.1.0", Membership: api.MembershipMember, FleetID: "fleet0000000000000000000",
		FleetName: "shed", Leader: f.nodes[0].ID, LeaderName: "board1", Manager: true, Voters: 3, Addr: "10.0.0.2:2377",
		Description: f.nodes[1].Description, StateDir: "/var/lib/edgeswarm", StartedAt: ago(3 * time.Hour), CertExpires: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}
	web := testService("web", 2)
	web.Spec.TaskTemplate.ContainerSpec.Image = "docker.io/library/web:1@sha256:" + strings.Repeat("1", 64)
	web.Spec.EndpointSpec = &api.EndpointSpec{Ports: []api.PortConfig{{Protocol: api.TCP, TargetPort: 80, PublishedPort: 8080, PublishMode: api.PublishHost}}}
	web.Spec.Labels = map[string]string{"tier": "front"}
	cam := testService("cam", 0)
	cam.Spec.Mode = api.ServiceMode{Global: &api.GlobalService{}}
	cam.Spec.TaskTemplate.ContainerSpec.ContainerOptions = api.ContainerOptions{
		Groups: []string{"44"}, Init: new(true), TTY: true, CapabilityAdd: []string{"CAP_SYS_NICE"}, CapabilityDrop: []string{"ALL"},
		Devices: []api.Device{{Class: "camera", CgroupPermissions: "rw"}, {PathOnHost: "/dev/fuse", PathInContainer: "/dev/f", CgroupPermissions: "rwm"}},
		Sysctls: map[string]string{"net.core.somaxconn": "1024"}, Ulimits: []api.Ulimit{{Name: "nofile", Soft: 1024, Hard: 4096}},
		ShmSize: 8 << 20, Hosts: []string{"192.0.2.7 printer"}, DNSConfig: &api.DNSConfig{Nameservers: []string{"192.0.2.53"}},
	}
	cam.Spec.TaskTemplate.ContainerSpec.Image = "ghcr.io/acme/cam@sha256:" + strings.Repeat("2", 64)
	f.services = []api.ServiceSummary{{Service: cam, Running: 4, Desired: 4}, {Service: web, Running: 1, Desired: 2}}
	task := func(id string, slot int, n int, state, desired api.TaskState, since time.Duration) *api.Task {
		t := &api.Task{
			ID: api.TaskID(id + strings.Repeat("0", api.IDLength-len(id))), ServiceID: web.ID, ServiceName: "web", Slot: slot, NodeID: f.nodes[n].ID,
			Spec: web.Spec.TaskTemplate, SpecVersion: 1, DesiredState: desired, Status: api.TaskStatus{State: state, Attempt: 1, Timestamp: ago(since)},
		}
		return t
	}
	f.tasks = []*api.Task{
		task("t1", 1, 0, api.TaskRunning, api.TaskRunning, 3*time.Minute),
		task("t0", 1, 2, api.TaskRunning, api.TaskShutdown, 4*time.Minute),
		task("t2", 2, 1, api.TaskFailed, api.TaskRunning, 10*time.Second),
	}
	f.tasks[0].Ports = web.Spec.EndpointSpec.Ports
	f.tasks[2].Status.Attempt, f.tasks[2].Status.Err = 3, "exit 1: "+strings.Repeat("a long story ", 10)
	f.images = []*api.Image{{
		ID: api.ImageID("sha256:" + strings.Repeat("ab", 32)), Names: []string{"docker.io/library/web:1", "ghcr.io/acme/web:latest"}, Size: 12 << 20,
		Manifests: []api.ImageManifest{{Platform: api.Platform{OS: "linux", Architecture: "arm64"}}, {Platform: api.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}}},
	}}
	f.volumes = []api.Volume{
		{Name: "data", NodeID: f.nodes[0].ID, NodeName: "board1", NodeState: api.NodeReady, Services: []string{"cam", "web"}, Here: &api.VolumeDetail{
			Mountpoint: "/var/lib/edgeswarm/volumes/data", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Tasks: []api.TaskBrief{{ID: f.tasks[0].ID, ServiceName: "web", Slot: 1, Status: api.TaskStatus{State: api.TaskRunning, Attempt: 1}}},
		}},
		{Name: "data", NodeID: f.nodes[2].ID, NodeName: "board3", NodeState: api.NodeDown, Services: []string{"cam", "web"}},
		{Name: "old", NodeID: f.nodes[1].ID, NodeName: "board2", NodeState: api.NodeReady},
	}
	f.findings = []api.Finding{
		{Check: "overlayfs", Level: api.FindingOK, What: "the kernel has it"},
		{Check: "swap", Level: api.FindingWarning, What: "/var/swap, 100 MiB, is on card mmcblk0", Why: "it wears the card out", Mend: "turn it off: `systemctl disable --now dphys-swapfile`"},
	}
	return f
}

func testService(name string, replicas uint64) *api.Service {
	s := &api.Service{ID: api.ServiceID("s" + name + strings.Repeat("0", api.IDLength-1-len(name))), Meta: api.Meta{Version: api.Version{Index: 10}}, SpecVersion: 1}
	s.Spec.Name = name
	s.Spec.Mode.Replicated = &api.ReplicatedService{Replicas: &replicas}
	return s
}

// Examine answers as the board that is named, or board2.
func (f *fleet) Examine(ctx context.Context, r *api.ExamineRequest) (*api.Examination, error) {
	if err := f.refuse(ctx); err != nil {
		return nil, err
	}
	n := f.nodes[1]
	if r.Node != "" {
		var err error
		if n, err = f.node(r.Node); err != nil {
			return nil, err
		}
	}
	if !r.MeasureDisk {
		return nil, api.Errorf(api.Invalid, "", "the disk's speed is part of it")
	}
	return &api.Examination{NodeID: n.ID, Hostname: n.Description.Hostname, Model: n.Description.Model, Findings: f.findings}, nil
}

// note records a writing request and fails as the test wants.
func (f *fleet) note(ctx context.Context, req any) error {
	f.mu.Lock()
	f.asked = append(f.asked, req)
	f.mu.Unlock()
	return f.refuse(ctx)
}

func (f *fleet) refuse(ctx context.Context) error {
	if f.fail == nil {
		return nil
	}
	method, _ := grpc.Method(ctx)
	return f.fail(method[strings.LastIndex(method, "/")+1:])
}

// find looks a service up by name.
func (f *fleet) find(ref string) (*api.Service, error) {
	for _, s := range f.services {
		if s.Service.Spec.Name == ref || string(s.Service.ID) == ref {
			return s.Service, nil
		}
	}
	return nil, api.Errorf(api.NotFound, "", "no service is called %s: see edgectl service ls", ref)
}

func (f *fleet) node(ref string) (*api.Node, error) {
	for _, n := range f.nodes {
		if n.Name() == ref || string(n.ID) == ref {
			return n, nil
		}
	}
	return nil, api.Errorf(api.NotFound, "", "no node is called %s: see edgectl node ls", ref)
}

func (f *fleet) GetBoard(context.Context, *api.Empty) (*api.BoardStatus, error) { return f.board, nil }

func (f *fleet) Init(ctx context.Context, r *api.InitRequest) (*api.InitResponse, error) {
	return &api.InitResponse{NodeID: "node1", FleetID: "fleet1", FleetKey: "EDGEKEY-1-XYZ", WorkerToken: "EDGETKN-1-XYZ", Addr: "10.0.0.1:2377"}, f.note(ctx, r)
}

func (f *fleet) Join(ctx context.Context, r *api.JoinRequest) (*api.Empty, error) {
	return &api.Empty{}, f.note(ctx, r)
}

func (f *fleet) Leave(ctx context.Context, r *api.LeaveRequest) (*api.Empty, error) {
	return &api.Empty{}, f.note(ctx, r)
}

func (f *fleet) LoadImage(s grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
	return f.load(s)
}

func (f *fleet) PullImage(r *api.PullImageRequest, s grpc.ServerStreamingServer[api.ImageProgress]) error {
	if err := f.note(s.Context(), r); err != nil {
		return err
	}
	_ = s.Send(&api.ImageProgress{Status: "pulling"})
	return s.Send(&api.ImageProgress{Status: "done", Done: true, Images: f.images})
}

func (f *fleet) Exec(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
	return f.exec(s)
}

func (f *fleet) Logs(r *api.LogsRequest, s grpc.ServerStreamingServer[api.LogLine]) error {
	if err := f.note(s.Context(), r); err != nil {
		return err
	}
	for _, l := range f.logs {
		if err := s.Send(l); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) Volumes(_ context.Context, r *api.VolumesRequest) (*api.VolumesResponse, error) {
	resp := &api.VolumesResponse{}
	for _, v := range f.volumes {
		if len(r.Names) > 0 && !slices.Contains(r.Names, v.Name) {
			continue
		}
		if !r.Detail {
			v.Here = nil
		}
		resp.Volumes = append(resp.Volumes, v)
	}
	return resp, nil
}

func (f *fleet) RemoveVolume(ctx context.Context, r *api.RemoveVolumeRequest) (*api.Empty, error) {
	return &api.Empty{}, f.note(ctx, r)
}

func (f *fleet) WatchEvents(r *api.EventsRequest, s grpc.ServerStreamingServer[api.EventsPage]) error {
	f.mu.Lock()
	f.looks++
	call := f.looks
	f.mu.Unlock()
	return f.events(call, r, s)
}

func (f *fleet) Usage(_ context.Context, r *api.UsageRequest) (*api.UsageResponse, error) {
	f.mu.Lock()
	f.looks++
	call := f.looks
	f.mu.Unlock()
	return f.usage(call, r)
}

func (f *fleet) GetCluster(ctx context.Context, _ *api.GetClusterRequest) (*api.GetClusterResponse, error) {
	return &api.GetClusterResponse{
		Cluster: &api.Cluster{ID: f.board.FleetID, FoundedAt: time.Now().Add(-48 * time.Hour), FleetKey: "EDGEKEY-secret"}, Voters: 3, ReachableVoters: 2, Leader: f.nodes[0].ID,
	}, f.refuse(ctx)
}

func (f *fleet) GetJoinToken(ctx context.Context, r *api.GetJoinTokenRequest) (*api.GetJoinTokenResponse, error) {
	return &api.GetJoinTokenResponse{Token: "EDGETKN-1-XYZ", Addrs: []string{"10.0.0.1:2377", "10.0.0.2:2377"}}, f.note(ctx, r)
}

func (f *fleet) ListNodes(ctx context.Context, _ *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	return &api.ListNodesResponse{Nodes: f.nodes}, f.refuse(ctx)
}

func (f *fleet) GetNode(_ context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	n, err := f.node(r.Node)
	return &api.GetNodeResponse{Node: n}, err
}

func (f *fleet) UpdateNode(ctx context.Context, r *api.UpdateNodeRequest) (*api.UpdateNodeResponse, error) {
	if err := f.note(ctx, r); err != nil {
		return nil, err
	}
	n, err := f.node(r.Node)
	return &api.UpdateNodeResponse{Node: n}, err
}

func (f *fleet) RemoveNode(ctx context.Context, r *api.RemoveNodeRequest) (*api.Empty, error) {
	if err := f.note(ctx, r); err != nil {
		return nil, err
	}
	_, err := f.node(r.Node)
	return &api.Empty{}, err
}

func (f *fleet) CreateService(ctx context.Context, r *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	if err := f.note(ctx, r); err != nil {
		return nil, err
	}
	s := testService(r.Spec.Name, 1)
	s.Spec = r.Spec
	return &api.CreateServiceResponse{Service: s, Warnings: []string{"the image is old"}}, nil
}

func (f *fleet) ListServices(ctx context.Context, _ *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	return &api.ListServicesResponse{Services: f.services}, f.refuse(ctx)
}

func (f *fleet) GetService(_ context.Context, r *api.GetServiceRequest) (*api.GetServiceResponse, error) {
	s, err := f.find(r.Service)
	return &api.GetServiceResponse{Service: s}, err
}

// UpdateService bumps the version once for each request ID, whatever fails
// afterwards.
func (f *fleet) UpdateService(ctx context.Context, r *api.UpdateServiceRequest) (*api.UpdateServiceResponse, error) {
	s, err := f.find(r.Service)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if !f.done[r.RequestID] {
		f.done[r.RequestID] = true
		s.Version.Index++
	}
	f.mu.Unlock()
	return &api.UpdateServiceResponse{Service: s}, f.note(ctx, r)
}

func (f *fleet) RollbackService(ctx context.Context, r *api.RollbackServiceRequest) (*api.UpdateServiceResponse, error) {
	s, err := f.find(r.Service)
	if err != nil {
		return nil, err
	}
	return &api.UpdateServiceResponse{Service: s}, f.note(ctx, r)
}

func (f *fleet) RemoveService(ctx context.Context, r *api.RemoveServiceRequest) (*api.Empty, error) {
	if _, err := f.find(r.Service); err != nil {
		return nil, err
	}
	return &api.Empty{}, f.note(ctx, r)
}

func (f *fleet) ListTasks(_ context.Context, r *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	var tasks []*api.Task
	if r.Service != "" {
		if _, err := f.find(r.Service); err != nil {
			return nil, err
		}
	}
	for _, t := range f.tasks {
		if (r.Service == "" || r.Service == t.ServiceName) && (r.Node == "" || r.Node == string(t.NodeID)) && (!r.Current || t.Live()) {
			tasks = append(tasks, t)
		}
	}
	return &api.ListTasksResponse{Tasks: tasks}, nil
}

func (f *fleet) GetTask(_ context.Context, r *api.GetTaskRequest) (*api.GetTaskResponse, error) {
	for _, t := range f.tasks {
		if taskName(t) == r.Task {
			return &api.GetTaskResponse{Task: t}, nil
		}
	}
	return nil, api.Errorf(api.NotFound, "", "no task %s", r.Task)
}

func (f *fleet) ListImages(context.Context, *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	return &api.ListImagesResponse{Images: f.images}, nil
}

func (f *fleet) WatchService(_ *api.GetServiceRequest, s grpc.ServerStreamingServer[api.ServiceProgress]) error {
	f.mu.Lock()
	f.watches++
	call := f.watches
	f.mu.Unlock()
	return f.watch(call, s)
}

// serve runs the fleet's node on a socket until the test ends.
func (f *fleet) serve(t *testing.T) (target string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "edge") // t.TempDir may be too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(api.ServerOptions()...)
	server.RegisterService(&api.ControlDesc, f)
	server.RegisterService(&api.BoardDesc, f)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-ended })
	return "unix://" + filepath.Join(dir, "s")
}

// result is what a command left behind.
type result struct {
	out, err string // what it printed
	code     int
}

// edgectl runs a command line against the fleet.
func (f *fleet) edgectl(t *testing.T, args ...string) result {
	t.Helper()
	return f.edgectlWith(t.Context(), t, nil, args...)
}

func (f *fleet) edgectlWith(ctx context.Context, t *testing.T, in io.Reader, args ...string) result {
	t.Helper()
	t.Setenv("EDGE_HOST", f.serve(t))
	var out, errs bytes.Buffer
	if in == nil {
		in = strings.NewReader("")
	}
	err := run(ctx, args, streams{in: in, out: &out, err: &errs})
	r := result{out: out.String()}
	if err != nil {
		report(&errs, err)
		r.code = exitCode(err)
	}
	r.err = errs.String()
	return r
}

// requests are the writing requests of one type that were asked.
func requests[T any](f *fleet) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []T
	for _, a := range f.asked {
		if r, ok := a.(T); ok {
			found = append(found, r)
		}
	}
	return found
}

var errBroken = errors.New("the pipe broke")
