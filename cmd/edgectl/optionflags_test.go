package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestEveryOptionReachesTheSpec(t *testing.T) {
	got, err := specOf(t, "--device", "/dev/i2c-1", "--device", "/dev/ttyUSB0:/dev/modem:rw", "--device", "/dev/iio:device0", "--device", "class=camera:r",
		"--privileged", "--cap-add", "NET_ADMIN", "--cap-drop", "all", "--group", "video", "--group-add", "44", "--sysctl", "net.core.somaxconn=1024",
		"--ulimit", "nofile=10:20", "--ulimit", "core=-1", "--init", "-t", "--shm-size", "8m", "--pid", "host", "--limit-pids", "50", "--limit-memory", "64m", "--memory-swap", "32m",
		"--oom-score-adj", "-5", "--host", "printer:192.0.2.7", "--host", "unix:///run/x.sock", "-H", "six:[2001:db8::1]",
		"--dns", "192.0.2.53", "--dns-search", "lan", "--dns-option", "ndots:2", "x")
	if err != nil {
		t.Fatal(err)
	}
	want := api.TaskSpec{
		ContainerSpec: api.ContainerSpec{Image: "x", ContainerOptions: api.ContainerOptions{
			Devices: []api.Device{
				{PathOnHost: "/dev/i2c-1"}, {PathOnHost: "/dev/ttyUSB0", PathInContainer: "/dev/modem", CgroupPermissions: "rw"},
				{PathOnHost: "/dev/iio:device0"}, {Class: "camera", CgroupPermissions: "r"},
			},
			Privileged: true, CapabilityAdd: []string{"NET_ADMIN"}, CapabilityDrop: []string{"all"}, Groups: []string{"video", "44"},
			Sysctls: map[string]string{"net.core.somaxconn": "1024"}, Ulimits: []api.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}, {Name: "core", Soft: -1, Hard: -1}},
			Init: ptr(true), TTY: true, ShmSize: 8 << 20, PidMode: "host", OomScoreAdj: -5, Hosts: []string{"192.0.2.7 printer", "2001:db8::1 six"},
			DNSConfig: &api.DNSConfig{Nameservers: []string{"192.0.2.53"}, Search: []string{"lan"}, Options: []string{"ndots:2"}},
		}},
		Resources: &api.ResourceRequirements{Limits: &api.Resources{MemoryBytes: 64 << 20, Pids: 50}, SwapBytes: ptr(int64(32 << 20))},
	}
	same(t, "spec", got.TaskTemplate, want)
}

func TestEveryOptionReachesThePatch(t *testing.T) {
	got, err := patchOf(t, "--device-add", "/dev/i2c-1:r", "--device-rm", "class=camera", "--device-rm", "/dev/ttyUSB0:/dev/modem", "--privileged=false", "--cap-add", "RESET", "--cap-drop", "CHOWN",
		"--group-add", "a", "--group-rm", "b", "--sysctl-add", "net.a=1", "--sysctl-rm", "net.b", "--ulimit-add", "CORE=1", "--ulimit-rm", "cpu", "--init=false", "--tty=false",
		"--shm-size", "0", "--pid", "private", "--limit-pids", "0", "--memory-swap", "-1", "--oom-score-adj", "0", "--host-add", "a:192.0.2.1", "--host-rm", "b",
		"--dns-add", "192.0.2.1", "--dns-rm", "192.0.2.2", "--dns-search-add", "a", "--dns-search-rm", "b", "--dns-option-add", "c", "--dns-option-rm", "d")
	if err != nil {
		t.Fatal(err)
	}
	want := api.ServicePatch{Limits: &api.ResourcesPatch{Pids: ptr(int64(0))}, OptionsPatch: api.OptionsPatch{
		DeviceAdd: []api.Device{{PathOnHost: "/dev/i2c-1", CgroupPermissions: "r"}}, DeviceRemove: []string{"class=camera", "/dev/ttyUSB0"},
		Privileged: ptr(false), CapabilityAdd: []string{"RESET"}, CapabilityDrop: []string{"CHOWN"}, GroupAdd: []string{"a"}, GroupRemove: []string{"b"},
		SysctlAdd: map[string]string{"net.a": "1"}, SysctlRemove: []string{"net.b"}, UlimitAdd: []api.Ulimit{{Name: "core", Soft: 1, Hard: 1}}, UlimitRemove: []string{"cpu"},
		Init: ptr(false), TTY: ptr(false), ShmSize: ptr(int64(0)), PidMode: ptr(""), SwapBytes: ptr(int64(-1)), OomScoreAdj: ptr(int64(0)),
		HostAdd: []string{"192.0.2.1 a"}, HostRemove: []string{"b"},
		DNSAdd:    &api.DNSConfig{Nameservers: []string{"192.0.2.1"}, Search: []string{"a"}, Options: []string{"c"}},
		DNSRemove: &api.DNSConfig{Nameservers: []string{"192.0.2.2"}, Search: []string{"b"}, Options: []string{"d"}},
	}}
	same(t, "patch", got, want)
}

func TestOptionsThatCanNotBeRead(t *testing.T) {
	for _, args := range [][]string{
		{"--device", "/etc/shadow"}, {"--device", "/dev/i2c-1:q"}, {"--device", "/dev/i2c-1:/dev/x:rq"}, {"--device", "/dev/i2c-1:"}, {"--device", "class=toaster"}, {"--device", "class="}, {"--device", "i2c-1"}, {"--sysctl", "net.core.somaxconn"},
		{"--ulimit", "nofile"}, {"--ulimit", "nofile=many"}, {"--host", "printer"}, {"--host", "printer:there"}, {"--dns", "dns.example"},
		{"--pid", "container:x"}, {"--oom-score-adj", "2000"}, {"--memory-swap", "-2"}, {"--limit-pids", "-1"}, {"--cap-add", ""},
	} {
		if _, err := specOf(t, append(args, "x")...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestHostIsEitherOfTwo: on create it is also the node to speak to.
func TestHostIsEitherOfTwo(t *testing.T) {
	endpoint := ""
	f := &createFlags{endpoint: &endpoint}
	fs := pflag.NewFlagSet("create", pflag.ContinueOnError)
	f.register(fs)
	if err := fs.Parse([]string{"--host", "ssh://pi@board1", "--host", "a:192.0.2.1", "x"}); err != nil {
		t.Fatal(err)
	}
	if endpoint != "ssh://pi@board1" || len(f.options.hosts.Values) != 1 {
		t.Errorf("speaks to %q, hosts %q", endpoint, f.options.hosts.Values)
	}
}
