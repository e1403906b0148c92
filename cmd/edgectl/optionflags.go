package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

// optionFlags say how a task's process is confined and what it is given of its
// board: api.ContainerOptions.
type optionFlags struct {
	privileged, init, tty  *flagvalue.Opt[bool]
	shmSize, swap, oom     *flagvalue.Opt[int64]
	pids                   *flagvalue.Opt[int64]
	pid                    *flagvalue.Opt[string]
	capAdd, capDrop        *flagvalue.List[string]
	groups                 *flagvalue.List[string]
	sysctls                *flagvalue.List[flagvalue.Pair]
	ulimits                *flagvalue.List[api.Ulimit]
	devices                *flagvalue.List[api.Device]
	hosts                  *flagvalue.List[string]
	dns, search, dnsOption *flagvalue.List[string]

	groupRemove, sysctlRemove, ulimitRemove, hostRemove []string
	dnsRemove, searchRemove, dnsOptionRemove            []string
	deviceRemove                                        *flagvalue.List[string]
}

func (f *optionFlags) register(fs *pflag.FlagSet, create bool) {
	f.privileged = defineBool(fs, "privileged", "lift all confinement: every capability and device of the board")
	f.init = defineBool(fs, "init", "put a process before the command that reaps and passes signals on")
	f.tty = defineBool(fs, "tty,t", "give the command a terminal")
	f.shmSize = define(fs, "shm-size", flagvalue.Bytes, "bytes", "size of /dev/shm (default 64m)")
	f.swap = define(fs, "memory-swap", flagvalue.Swap, "bytes", "swap beside --limit-memory; -1 is without limit (default 0)")
	f.pids = define(fs, "limit-pids", flagvalue.Pids, "number", "most processes and threads of a task (default 4096)")
	f.oom = define(fs, "oom-score-adj", flagvalue.OOMScore, "number", "from -1000 to 1000: the higher, the sooner given up when the board's memory is short")
	f.pid = define(fs, "pid", flagvalue.Pid, "host|private", "see all processes of the board, or only one's own (default private)")
	f.capAdd = defineList(fs, "cap-add", flagvalue.Word, "capability", "add a capability of Linux, such as NET_ADMIN, or ALL")
	f.capDrop = defineList(fs, "cap-drop", flagvalue.Word, "capability", "drop a capability, or ALL")
	named := func(name string) string { return name + "-add" }
	if create {
		named = func(name string) string { return name }
		f.groups = defineList(fs, "group", flagvalue.Word, "group", "one more group of the command's user, by name in the image or number")
		fs.Var(f.groups, "group-add", "same as --group")
	} else {
		f.groups = defineList(fs, "group-add", flagvalue.Word, "group", "add a group of the command's user")
		f.hosts = defineList(fs, "host-add", flagvalue.Host, "name:address", "add a line to the tasks' hosts file")
		f.registerRemovals(fs)
	}
	f.sysctls = defineList(fs, named("sysctl"), flagvalue.Sysctl, "name=value", "a kernel setting of the tasks' own, such as net.core.somaxconn=1024")
	f.ulimits = defineList(fs, named("ulimit"), flagvalue.Ulimit, "name=soft[:hard]", "a limit of each process, such as nofile=1024:4096")
	f.devices = defineList(fs, named("device"), flagvalue.Device, "device", "a device of the board, /dev/NAME[:/path][:rwm], or all of a kind, class="+strings.Join(api.DeviceClasses(), "|")+"; tasks run only where it is")
	f.dns = defineList(fs, named("dns"), flagvalue.Address, "address", "a name server, instead of the board's")
	f.search = defineList(fs, named("dns-search"), flagvalue.Word, "domain", "a search domain, instead of the board's")
	f.dnsOption = defineList(fs, named("dns-option"), flagvalue.Word, "option", "an option of the resolver, instead of the board's")
}

func (f *optionFlags) registerRemovals(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.groupRemove, "group-rm", nil, "remove a `group`")
	fs.StringArrayVar(&f.sysctlRemove, "sysctl-rm", nil, "remove a kernel setting, by its `name`")
	fs.StringArrayVar(&f.ulimitRemove, "ulimit-rm", nil, "remove a limit, by its `name`")
	fs.StringArrayVar(&f.hostRemove, "host-rm", nil, "remove `name` or name:address from the tasks' hosts file")
	fs.StringArrayVar(&f.dnsRemove, "dns-rm", nil, "remove a name server, by its `address`")
	fs.StringArrayVar(&f.searchRemove, "dns-search-rm", nil, "remove a search `domain`")
	fs.StringArrayVar(&f.dnsOptionRemove, "dns-option-rm", nil, "remove an `option` of the resolver")
	f.deviceRemove = defineList(fs, "device-rm", flagvalue.DeviceName, "device", "remove a device, by its path on the board or its class=NAME")
}

// hostFlag is --host of `service create`. It means two things, as in Docker,
// where however only one of them may stand behind the command: the node to
// speak to (unix:///path, ssh://…), or a line of the tasks' hosts file.
type hostFlag struct {
	endpoint *string
	lines    *flagvalue.List[string]
}

func (h hostFlag) Set(s string) error {
	if strings.Contains(s, "://") {
		*h.endpoint = s
		return nil
	}
	return h.lines.Set(s)
}

func (h hostFlag) String() string { return *h.endpoint }
func (h hostFlag) Type() string   { return "name:address" }

// registerHost adds --host; endpoint is where the node to speak to is kept.
func (f *optionFlags) registerHost(fs *pflag.FlagSet, endpoint *string) {
	if endpoint == nil {
		endpoint = new(string)
	}
	f.hosts = flagvalue.NewList(flagvalue.Host, "name:address")
	fs.VarP(hostFlag{endpoint, f.hosts}, "host", "H", "a line of the tasks' hosts file; with :// in it, the node to speak to")
}

func (f *optionFlags) spec() api.ContainerOptions {
	return api.ContainerOptions{
		Privileged: f.privileged.Or(false), Init: f.init.Value, TTY: f.tty.Or(false), ShmSize: f.shmSize.Or(0), OomScoreAdj: f.oom.Or(0), PidMode: f.pid.Or(""),
		CapabilityAdd: f.capAdd.Values, CapabilityDrop: f.capDrop.Values, Groups: f.groups.Values, Sysctls: flagvalue.Map(f.sysctls.Values),
		Ulimits: f.ulimits.Values, Devices: f.devices.Values, Hosts: f.hosts.Values, DNSConfig: dnsConfig(f.dns.Values, f.search.Values, f.dnsOption.Values),
	}
}

// resources adds what is not an amount that could be reserved.
func (f *optionFlags) resources(r *api.ResourceRequirements) *api.ResourceRequirements {
	if f.pids.Or(0) == 0 && f.swap.Value == nil {
		return r
	}
	if r == nil {
		r = &api.ResourceRequirements{}
	}
	r.SwapBytes = f.swap.Value
	if f.pids.Or(0) > 0 {
		if r.Limits == nil {
			r.Limits = &api.Resources{}
		}
		r.Limits.Pids = *f.pids.Value
	}
	return r
}

// limits adds the bound on processes to a change of the others.
func (f *optionFlags) limits(p *api.ResourcesPatch) *api.ResourcesPatch {
	if f.pids.Value == nil {
		return p
	}
	if p == nil {
		p = &api.ResourcesPatch{}
	}
	p.Pids = f.pids.Value
	return p
}

func (f *optionFlags) patch() api.OptionsPatch {
	return api.OptionsPatch{
		Privileged: f.privileged.Value, Init: f.init.Value, TTY: f.tty.Value, ShmSize: f.shmSize.Value, OomScoreAdj: f.oom.Value, PidMode: f.pid.Value, SwapBytes: f.swap.Value,
		CapabilityAdd: f.capAdd.Values, CapabilityDrop: f.capDrop.Values, GroupAdd: f.groups.Values, GroupRemove: f.groupRemove,
		SysctlAdd: flagvalue.Map(f.sysctls.Values), SysctlRemove: f.sysctlRemove, UlimitAdd: f.ulimits.Values, UlimitRemove: f.ulimitRemove,
		DeviceAdd: f.devices.Values, DeviceRemove: f.deviceRemove.Values, HostAdd: f.hosts.Values, HostRemove: f.hostRemove,
		DNSAdd:    dnsConfig(f.dns.Values, f.search.Values, f.dnsOption.Values),
		DNSRemove: dnsConfig(f.dnsRemove, f.searchRemove, f.dnsOptionRemove),
	}
}

func dnsConfig(servers, search, options []string) *api.DNSConfig {
	if len(servers)+len(search)+len(options) == 0 {
		return nil
	}
	return &api.DNSConfig{Nameservers: servers, Search: search, Options: options}
}
