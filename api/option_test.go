package api

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func options(change func(*ContainerOptions)) func(*ServiceSpec) {
	return func(s *ServiceSpec) { change(&s.TaskTemplate.ContainerSpec.ContainerOptions) }
}

func TestOptionsThatCanNeverRunAreRefused(t *testing.T) {
	const at = "TaskTemplate.ContainerSpec."
	device := func(d ...Device) func(*ServiceSpec) {
		return options(func(o *ContainerOptions) { o.Devices = d })
	}
	ulimit := func(u ...Ulimit) func(*ServiceSpec) { return options(func(o *ContainerOptions) { o.Ulimits = u }) }
	sysctl := func(name, value string) func(*ServiceSpec) {
		return options(func(o *ContainerOptions) { o.Sysctls = map[string]string{name: value} })
	}
	for _, c := range []struct {
		field  string
		change func(*ServiceSpec)
	}{
		{at + "Devices", device(Device{PathOnHost: "/etc/shadow"})},
		{at + "Devices", device(Device{PathOnHost: "/dev"})},
		{at + "Devices", device(Device{PathOnHost: "/dev/../etc/shadow"})},
		{at + "Devices", device(Device{PathOnHost: "i2c-1"})},
		{at + "Devices", device(Device{PathOnHost: "/dev/i2c-1", PathInContainer: "i2c"})},
		{at + "Devices", device(Device{PathOnHost: "/dev/i2c-1", CgroupPermissions: "rx"})},
		{at + "Devices", device(Device{PathOnHost: "/dev/i2c-1", CgroupPermissions: "rr"})},
		{at + "Devices", device(Device{PathOnHost: "/dev/i2c-1"}, Device{PathOnHost: "/dev/i2c-1", PathInContainer: "/dev/x"})},
		{at + "Devices", device(Device{Class: "toaster"})},
		{at + "Devices", device(Device{Class: "camera", PathInContainer: "/dev/cam"})},
		{at + "Devices", device(Device{Class: "camera", PathOnHost: "/dev/video0"})},
		{at + "Devices", device(Device{})},
		{at + "CapabilityAdd", options(func(o *ContainerOptions) { o.CapabilityAdd = []string{"CAP_FLY"} })},
		{at + "CapabilityDrop", options(func(o *ContainerOptions) { o.CapabilityDrop = []string{"RESET"} })},
		{at + "Sysctls", sysctl("vm.swappiness", "1")},
		{at + "Sysctls", sysctl("kernel.panic", "1")},
		{at + "Sysctls", sysctl("net.core.somaxconn", "")},
		{at + "Sysctls", sysctl("net..x", "1")},
		{at + "Sysctls", func(s *ServiceSpec) {
			sysctl("net.core.somaxconn", "1024")(s)
			s.TaskTemplate.Networks = []NetworkAttachment{{Target: NetworkHost}}
			s.EndpointSpec = nil
		}},
		{at + "Ulimits", ulimit(Ulimit{Name: "files", Soft: 1, Hard: 1})},
		{at + "Ulimits", ulimit(Ulimit{Name: "nofile", Soft: 2, Hard: 1})},
		{at + "Ulimits", ulimit(Ulimit{Name: "nofile", Soft: -1, Hard: 1})},
		{at + "Ulimits", ulimit(Ulimit{Name: "core", Soft: -2, Hard: -2})},
		{at + "Ulimits", ulimit(Ulimit{Name: "core"}, Ulimit{Name: "core"})},
		{at + "ShmSize", options(func(o *ContainerOptions) { o.ShmSize = -1 })},
		{at + "ShmSize", func(s *ServiceSpec) {
			c := &s.TaskTemplate.ContainerSpec
			c.ShmSize, c.Mounts = 1, []Mount{{Type: MountTmpfs, Target: "/dev/shm/"}}
		}},
		{at + "PidMode", options(func(o *ContainerOptions) { o.PidMode = "container:x" })},
		{at + "OomScoreAdj", options(func(o *ContainerOptions) { o.OomScoreAdj = 1001 })},
		{at + "Groups", options(func(o *ContainerOptions) { o.Groups = []string{"a b"} })},
		{at + "Hosts", options(func(o *ContainerOptions) { o.Hosts = []string{"printer 192.0.2.1"} })},
		{at + "Hosts", options(func(o *ContainerOptions) { o.Hosts = []string{"192.0.2.1"} })},
		{at + "Hosts", options(func(o *ContainerOptions) { o.Hosts = []string{"192.0.2.1 a\n192.0.2.2 b"} })},
		{at + "DNSConfig.Nameservers", options(func(o *ContainerOptions) { o.DNSConfig = &DNSConfig{Nameservers: []string{"dns.example"}} })},
		{at + "DNSConfig.Search", options(func(o *ContainerOptions) { o.DNSConfig = &DNSConfig{Search: []string{"a b"}} })},
		{"TaskTemplate.Resources.SwapBytes", func(s *ServiceSpec) { s.TaskTemplate.Resources = &ResourceRequirements{SwapBytes: new(int64)} }},
		{"TaskTemplate.Resources.SwapBytes", func(s *ServiceSpec) {
			s.TaskTemplate.Resources = &ResourceRequirements{SwapBytes: new(int64(-2)), Limits: &Resources{MemoryBytes: 1 << 20}}
		}},
		{"TaskTemplate.Resources.Limits.Pids", func(s *ServiceSpec) { s.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{Pids: -1}} }},
		{"TaskTemplate.Resources.Reservations.Pids", func(s *ServiceSpec) {
			s.TaskTemplate.Resources = &ResourceRequirements{Reservations: &Resources{Pids: 1}}
		}},
	} {
		spec := Clone(validSpec())
		c.change(&spec)
		refused(t, c.field, spec.Validate())
	}
}

func TestOptionsThatAreFine(t *testing.T) {
	spec := Clone(validSpec())
	spec.TaskTemplate.ContainerSpec.ContainerOptions = ContainerOptions{
		Groups: []string{"video", "44"}, CapabilityAdd: []string{"net_admin", "CAP_SYS_TIME"}, CapabilityDrop: []string{"all"},
		Sysctls: map[string]string{"net.core.somaxconn": "1024", "kernel.shmmax": "1"},
		Ulimits: []Ulimit{{Name: "nofile", Soft: 10, Hard: -1}, {Name: "core", Soft: -1, Hard: -1}},
		Devices: []Device{{PathOnHost: "/dev/i2c-1", CgroupPermissions: "rw"}, {PathOnHost: "/dev/dri", PathInContainer: "/gpu"}, {Class: "camera"}},
		PidMode: PidHost, OomScoreAdj: -1000, Hosts: []string{"2001:db8::1 a b"}, DNSConfig: &DNSConfig{Nameservers: []string{"::1"}, Options: []string{"ndots:2"}},
	}
	spec.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{MemoryBytes: 1 << 20, Pids: 5}, SwapBytes: new(int64(-1))}
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	full := spec.Defaults()
	o := full.TaskTemplate.ContainerSpec.ContainerOptions
	if !slices.Equal(o.CapabilityAdd, []string{"CAP_NET_ADMIN", "CAP_SYS_TIME"}) || !slices.Equal(o.CapabilityDrop, []string{"ALL"}) {
		t.Errorf("capabilities are kept as %v, %v", o.CapabilityAdd, o.CapabilityDrop)
	}
	if d := o.Devices[0]; d.PathInContainer != "/dev/i2c-1" || d.CgroupPermissions != "rw" || o.Devices[2].CgroupPermissions != "rwm" {
		t.Errorf("devices are kept as %+v", o.Devices)
	}
	if err := full.Validate(); err != nil {
		t.Errorf("with its defaults: %v", err)
	}
	if again := full.Defaults(); !reflect.DeepEqual(again, full) {
		t.Errorf("defaults of defaults differ: %+v", again)
	}
}

// TestCapabilitiesChangeAsInDocker follows the table in Docker's
// cli/command/service/update.go.
func TestCapabilitiesChangeAsInDocker(t *testing.T) {
	for _, c := range []struct{ has, lacks, add, drop, wantHas, wantLacks string }{
		{"", "", "NET_ADMIN", "", "CAP_NET_ADMIN", ""},
		{"", "CAP_CHOWN", "CHOWN", "", "", ""},
		{"", "", "CHOWN", "", "CAP_CHOWN", ""},
		{"CAP_CHOWN", "", "", "chown", "", ""},
		{"", "", "", "chown", "", "CAP_CHOWN"},
		{"", "", "chown", "CAP_CHOWN", "CAP_CHOWN", ""},
		{"CAP_CHOWN CAP_KILL", "CAP_LEASE", "RESET SYSLOG", "RESET", "CAP_SYSLOG", ""},
		{"CAP_CHOWN", "", "ALL", "", "ALL", ""},
		{"ALL", "", "", "ALL", "", ""},
		{"CAP_KILL CAP_CHOWN", "", "CHOWN", "", "CAP_CHOWN CAP_KILL", ""},
	} {
		has, lacks := mergeCapabilities(strings.Fields(c.has), strings.Fields(c.lacks), strings.Fields(c.add), strings.Fields(c.drop))
		if strings.Join(has, " ") != c.wantHas || strings.Join(lacks, " ") != c.wantLacks {
			t.Errorf("%+v gives %v and %v", c, has, lacks)
		}
	}
}

func TestOptionsMerge(t *testing.T) {
	spec := Clone(validSpec())
	spec.TaskTemplate.ContainerSpec.ContainerOptions = ContainerOptions{
		Groups: []string{"a"}, Sysctls: map[string]string{"net.a": "1", "net.b": "1"}, Ulimits: []Ulimit{{Name: "core"}, {Name: "cpu", Soft: 1, Hard: 1}},
		Devices: []Device{{PathOnHost: "/dev/a"}, {Class: "camera"}, {PathOnHost: "/dev/b"}},
		Hosts:   []string{"192.0.2.1 a", "192.0.2.2 a", "192.0.2.3 b c"}, DNSConfig: &DNSConfig{Nameservers: []string{"192.0.2.9"}},
	}
	merged, err := spec.Merge(ServicePatch{OptionsPatch: OptionsPatch{
		Privileged: new(true), Init: new(true), TTY: new(true), ShmSize: new(int64(7)), PidMode: new(PidHost), OomScoreAdj: new(int64(5)), SwapBytes: new(int64(9)),
		GroupAdd: []string{"b"}, GroupRemove: []string{"a"}, SysctlAdd: map[string]string{"net.a": "2"}, SysctlRemove: []string{"net.b"},
		UlimitAdd: []Ulimit{{Name: "cpu", Soft: 2, Hard: 2}}, UlimitRemove: []string{"core"},
		DeviceAdd: []Device{{PathOnHost: "/dev/a/", CgroupPermissions: "r"}}, DeviceRemove: []string{"class=camera", "/dev//b"},
		HostAdd: []string{"192.0.2.1 a", "192.0.2.4 d"}, HostRemove: []string{"a:192.0.2.2", "c"}, DNSRemove: &DNSConfig{Nameservers: []string{"192.0.2.9"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := ContainerOptions{
		Groups: []string{"b"}, Sysctls: map[string]string{"net.a": "2"}, Ulimits: []Ulimit{{Name: "cpu", Soft: 2, Hard: 2}},
		Devices: []Device{{PathOnHost: "/dev/a/", CgroupPermissions: "r"}}, Hosts: []string{"192.0.2.1 a", "192.0.2.4 d"},
		Privileged: true, Init: new(true), TTY: true, ShmSize: 7, PidMode: PidHost, OomScoreAdj: 5,
	}
	if got := merged.TaskTemplate.ContainerSpec.ContainerOptions; !reflect.DeepEqual(got, want) {
		t.Errorf("merged is %+v\nwant %+v", got, want)
	}
	if swap := merged.TaskTemplate.Resources.SwapBytes; swap == nil || *swap != 9 {
		t.Errorf("swap is %v", swap)
	}
	added, err := merged.Merge(ServicePatch{OptionsPatch: OptionsPatch{DNSAdd: &DNSConfig{Search: []string{"lan"}}}})
	if d := added.TaskTemplate.ContainerSpec.DNSConfig; err != nil || d == nil || !slices.Equal(d.Search, []string{"lan"}) {
		t.Errorf("DNS is %+v, %v", d, err)
	}
}

func TestConstraintsOnFacts(t *testing.T) {
	board := &Node{Description: NodeDescription{
		Model: "Raspberry Pi 4 Model B Rev 1.4", MemoryTotal: 3_884_928 << 10,
		Devices: []BoardDevices{{Class: "camera", Paths: []string{"/dev/video0"}}, {Paths: []string{"/dev/fuse", "/dev/net/tun"}}},
	}}
	for text, want := range map[string]bool{
		"node.model==Raspberry Pi 4 Model B Rev 1.4": true, "node.model == raspberry pi 4 model b": true, "node.model!=Raspberry Pi 4 Model B": false,
		"node.model==Raspberry Pi": false, "node.model!=Raspberry Pi 5": true,
		"node.memory==4g": true, "node.memory==4096MiB": true, "node.memory==4 GB": true, "node.memory==8g": false, "node.memory!=512m": true, "node.memory!=4g": false,
		"node.device==camera": true, "node.device==i2c": false, "node.device!=i2c": true, "node.device==/dev/net/tun": true, "node.device!=camera": false,
	} {
		c, err := ParseConstraint(text)
		if err != nil || c.Match(board) != want {
			t.Errorf("%s: %v, %v; want %v", text, c.Match(board), err, want)
		}
		if again, err := ParseConstraint(c.String()); err != nil || again != c {
			t.Errorf("%s is kept as %s", text, c)
		}
	}
	for _, text := range []string{"node.memory==much", "node.role==boss", "node.role!=managers", "node.device==toaster", "node.device==dev/i2c-1"} {
		if c, err := ParseConstraint(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is read as %v, %v", text, c, err)
		}
	}
	for kib, want := range map[int64]string{928_000: "1g", 437_000: "512m", 24_600_000: "24g", 1_950_000: "2g", 7_900_000: "8g", 2_900_000: "3g"} {
		n := &Node{Description: NodeDescription{MemoryTotal: kib << 10}}
		if c, _ := ParseConstraint("node.memory==" + want); !c.Match(n) {
			t.Errorf("%d KiB is not %s", kib, want)
		}
	}
}

func TestHasDevice(t *testing.T) {
	board := NodeDescription{Devices: []BoardDevices{{Class: "gpu", Paths: []string{"/dev/dri/card0"}}, {Paths: []string{"/dev/fuse"}}}}
	for name, want := range map[string]bool{
		"/dev/dri/card0": true, "/dev/dri": true, "/dev/dri/": true, "/dev/dr": false, "/dev/fuse": true, "/dev/fus": false, "/dev/tty3": true, "/dev/ttyUSB0": false, "/dev/pts": true,
	} {
		if got := board.HasDevice(Device{PathOnHost: name}); got != want {
			t.Errorf("has %s: %v", name, got)
		}
	}
	if !board.HasDevice(Device{Class: "gpu"}) || board.HasDevice(Device{Class: "camera"}) {
		t.Error("classes are mistaken")
	}
}

// TestEqualSeesEveryField: a description that differs in any field differs.
func TestEqualSeesEveryField(t *testing.T) {
	base := NodeDescription{Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Devices: []BoardDevices{{Class: "gpu", Paths: []string{"/dev/dri/card0"}}}, Volumes: []string{"data"}, Mesh: MeshEnd{Keys: [][]byte{{1}}}}
	if !base.Equal(Clone(base)) {
		t.Error("a copy differs")
	}
	for i := range reflect.TypeFor[NodeDescription]().NumField() {
		other := Clone(base)
		field := reflect.ValueOf(&other).Elem().Field(i)
		change(t, field)
		if base.Equal(other) {
			t.Errorf("a difference in %s is not seen", reflect.TypeFor[NodeDescription]().Field(i).Name)
		}
	}
}

func change(t *testing.T, v reflect.Value) {
	if p, ok := v.Interface().(netip.Prefix); ok {
		v.Set(reflect.ValueOf(netip.PrefixFrom(p.Addr(), p.Bits()+1)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8:
		v.SetUint(v.Uint() + 1)
	case reflect.Struct:
		change(t, v.Field(0))
	case reflect.Slice:
		change(t, v.Index(0))
	default:
		t.Fatalf("can't change a %s", v.Kind())
	}
}
