package api

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// ContainerOptions are how a task's process is confined, and what it is given
// of its board. Names are Docker's; what Swarm does not have (devices,
// privileged, the size of /dev/shm, the board's processes) has that of
// Docker's HostConfig.
type ContainerOptions struct {
	// Groups are further groups of the process, by name in the image or number.
	Groups []string `json:",omitempty"`
	// Privileged lifts all confinement: every capability and device.
	Privileged bool `json:",omitempty"`
	// CapabilityAdd and -Drop change Docker's default set: "CAP_NET_ADMIN", "ALL".
	CapabilityAdd  []string `json:",omitempty"`
	CapabilityDrop []string `json:",omitempty"`
	// Sysctls of the task's own namespaces.
	Sysctls map[string]string `json:",omitempty"`
	Ulimits []Ulimit          `json:",omitempty"`
	Devices []Device          `json:",omitempty"`
	// Init puts a process before the task's own that reaps and passes signals on.
	Init *bool `json:",omitempty"`
	// TTY gives the process a terminal; its output is then all standard output.
	TTY bool `json:",omitempty"`
	// ShmSize of /dev/shm in bytes; 0 is 64 MiB.
	ShmSize int64 `json:",omitempty"`
	// PidMode is PidHost, or "" for process IDs of the task's own.
	PidMode string `json:",omitempty"`
	// OomScoreAdj of -1000 to 1000: the higher, the sooner the kernel chooses
	// the process when the board's memory is short.
	OomScoreAdj int64 `json:",omitempty"`
	// Hosts are lines of the task's /etc/hosts: "192.0.2.1 printer".
	Hosts     []string   `json:",omitempty"`
	DNSConfig *DNSConfig `json:",omitempty"`
}

// PidHost is the PidMode that shows a task all processes of its board.
const PidHost = "host"

// DefaultShmSize of /dev/shm, Docker's.
const DefaultShmSize = 64 << 20

// Ulimit bounds a resource of each process; -1 is no bound.
type Ulimit struct {
	Name       string // "nofile"
	Soft, Hard int64
}

// DNSConfig is what stands in a task's resolv.conf instead of the board's.
type DNSConfig struct {
	Nameservers []string `json:",omitempty"`
	Search      []string `json:",omitempty"`
	Options     []string `json:",omitempty"`
}

// OptionsPatch changes ContainerOptions; see ServicePatch. Lists to remove have
// names: of a group, sysctl or ulimit; Device.Name; a host's name, or
// "name:address" for one of several.
type OptionsPatch struct {
	Privileged  *bool   `json:",omitempty"`
	Init        *bool   `json:",omitempty"`
	TTY         *bool   `json:",omitempty"`
	ShmSize     *int64  `json:",omitempty"`
	PidMode     *string `json:",omitempty"`
	OomScoreAdj *int64  `json:",omitempty"`
	SwapBytes   *int64  `json:",omitempty"`
	// CapabilityAdd and -Drop follow `docker service update`: see
	// mergeCapabilities.
	CapabilityAdd  []string          `json:",omitempty"`
	CapabilityDrop []string          `json:",omitempty"`
	GroupAdd       []string          `json:",omitempty"`
	GroupRemove    []string          `json:",omitempty"`
	SysctlAdd      map[string]string `json:",omitempty"`
	SysctlRemove   []string          `json:",omitempty"`
	UlimitAdd      []Ulimit          `json:",omitempty"`
	UlimitRemove   []string          `json:",omitempty"`
	DeviceAdd      []Device          `json:",omitempty"`
	DeviceRemove   []string          `json:",omitempty"`
	HostAdd        []string          `json:",omitempty"` // lines, as in ContainerOptions
	HostRemove     []string          `json:",omitempty"`
	DNSAdd         *DNSConfig        `json:",omitempty"`
	DNSRemove      *DNSConfig        `json:",omitempty"`
}

// orDefault writes the options in the form in which they are kept.
func (o ContainerOptions) orDefault() ContainerOptions {
	o.CapabilityAdd, o.CapabilityDrop = normalCapabilities(o.CapabilityAdd), normalCapabilities(o.CapabilityDrop)
	for i := range o.Devices {
		o.Devices[i] = o.Devices[i].orDefault()
	}
	for i, line := range o.Hosts {
		o.Hosts[i] = strings.Join(strings.Fields(line), " ")
	}
	slices.SortFunc(o.Ulimits, func(a, b Ulimit) int { return cmp.Compare(a.Name, b.Name) })
	return o
}

// ulimits that Linux has (getrlimit(2)), as Docker names them.
var ulimits = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// sysctls of a namespace that a task has of its own, beside those of net.
var sysctls = []string{
	"kernel.domainname", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}

func (c *check) options(at string, s ContainerSpec, hostNetwork bool) {
	o := s.ContainerOptions
	for _, g := range o.Groups {
		c.that(g != "" && !strings.ContainsAny(g, " \t\n:\x00"), at+"Groups", "%q is not a group's name or number", g)
	}
	c.capabilities(at+"CapabilityAdd", o.CapabilityAdd)
	c.capabilities(at+"CapabilityDrop", o.CapabilityDrop)
	for _, name := range slices.Sorted(maps.Keys(o.Sysctls)) {
		c.sysctl(at+"Sysctls", name, o.Sysctls[name], hostNetwork)
	}
	seen := map[string]bool{}
	for _, u := range o.Ulimits {
		c.that(slices.Contains(ulimits, u.Name), at+"Ulimits", "%q is not one of %s", u.Name, strings.Join(ulimits, ", "))
		c.that(!seen[u.Name], at+"Ulimits", "%s is given twice", u.Name)
		seen[u.Name] = true
		c.that(u.Soft >= -1 && u.Hard >= -1, at+"Ulimits", "%s is below -1, which is no limit", u.Name)
		c.that(u.Hard == -1 || u.Soft != -1 && u.Soft <= u.Hard, at+"Ulimits", "the soft limit of %s is above the hard one: lower it, or raise the other", u.Name)
	}
	c.devices(at+"Devices", o.Devices)
	c.that(o.ShmSize >= 0, at+"ShmSize", "%d is below 0", o.ShmSize)
	c.that(oneOf(o.PidMode, "", PidHost), at+"PidMode", "%q is not %s", o.PidMode, PidHost)
	c.that(o.OomScoreAdj >= -1000 && o.OomScoreAdj <= 1000, at+"OomScoreAdj", "%d is not between -1000 and 1000", o.OomScoreAdj)
	for _, m := range s.Mounts {
		c.that(o.ShmSize == 0 || path.Clean(m.Target) != "/dev/shm", at+"ShmSize", "/dev/shm is mounted by itself: give its size there")
	}
	for _, line := range o.Hosts {
		c.is(at+"Hosts", checkHost(line))
	}
	c.dns(at+"DNSConfig.", o.DNSConfig)
}

func (c *check) sysctl(field, name, value string, hostNetwork bool) {
	net := strings.HasPrefix(name, "net.")
	known := net || strings.HasPrefix(name, "fs.mqueue.") || slices.Contains(sysctls, name)
	c.that(known, field, "%q belongs to the whole board, or is not known: a task may set net.*, fs.mqueue.* and %s", name, strings.Join(sysctls, ", "))
	c.that(!strings.HasSuffix(name, ".") && !strings.Contains(name, "..") && !strings.ContainsAny(name, " \t\n=\x00"), field, "%q is not a sysctl's name", name)
	c.that(!net || !hostNetwork, field, "%s would change the network of the board, which the task shares: leave one of the two out", name)
	c.that(value != "" && !strings.ContainsAny(value, "\n\x00"), field, "%s has no value that could be set", name)
}

// checkHost accepts a line of a hosts file: an address and names.
func checkHost(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 2 || strings.ContainsAny(line, "\n#\x00") {
		return fmt.Errorf("%q is not an address with a name behind it", line)
	}
	if _, err := netip.ParseAddr(fields[0]); err != nil {
		return fmt.Errorf("%q does not begin with an IP address", line)
	}
	return nil
}

func (c *check) dns(at string, d *DNSConfig) {
	if d == nil {
		return
	}
	for _, server := range d.Nameservers {
		_, err := netip.ParseAddr(server)
		c.that(err == nil, at+"Nameservers", "%q is not an IP address", server)
	}
	for _, word := range slices.Concat(d.Search, d.Options) {
		c.that(word != "" && !strings.ContainsAny(word, " \t\n\x00"), at+"Search", "%q is not one word of a resolv.conf", word)
	}
}

// swap checks the bound on swap, which goes with one on memory.
func (c *check) swap(at string, r *ResourceRequirements) {
	if r.SwapBytes == nil {
		return
	}
	c.that(*r.SwapBytes >= -1, at+"SwapBytes", "%d is below -1, which is no limit", *r.SwapBytes)
	c.that(r.Limits != nil && r.Limits.MemoryBytes > 0, at+"SwapBytes", "swap can only be bounded together with memory: give a memory limit too")
}

func same(s string) string { return s }

func mergeOptions(t *TaskSpec, patch OptionsPatch) {
	c := &t.ContainerSpec
	set(&c.Privileged, patch.Privileged)
	setPointer(&c.Init, patch.Init)
	set(&c.TTY, patch.TTY)
	set(&c.ShmSize, patch.ShmSize)
	set(&c.PidMode, patch.PidMode)
	set(&c.OomScoreAdj, patch.OomScoreAdj)
	if patch.SwapBytes != nil {
		if t.Resources == nil {
			t.Resources = &ResourceRequirements{}
		}
		t.Resources.SwapBytes = patch.SwapBytes
	}
	if len(patch.CapabilityAdd)+len(patch.CapabilityDrop) > 0 {
		c.CapabilityAdd, c.CapabilityDrop = mergeCapabilities(c.CapabilityAdd, c.CapabilityDrop, patch.CapabilityAdd, patch.CapabilityDrop)
	}
	c.Groups = mergeList(c.Groups, patch.GroupAdd, patch.GroupRemove, same, same)
	c.Sysctls = mergeLabels(c.Sysctls, patch.SysctlAdd, patch.SysctlRemove)
	c.Ulimits = mergeList(c.Ulimits, patch.UlimitAdd, patch.UlimitRemove, func(u Ulimit) string { return u.Name }, same)
	c.Devices = mergeList(c.Devices, patch.DeviceAdd, patch.DeviceRemove, func(d Device) string { return d.orDefault().Name() }, cleanDevice)
	c.Hosts = mergeHosts(c.Hosts, patch.HostAdd, patch.HostRemove)
	c.DNSConfig = mergeDNS(c.DNSConfig, patch.DNSAdd, patch.DNSRemove)
}

// cleanDevice lets a device be found again however its path is spelt.
func cleanDevice(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return name
}

// mergeHosts removes what is named, "name" or "name:address", and adds lines
// that are not there yet. A name may have several addresses.
func mergeHosts(lines, add, remove []string) []string {
	for _, gone := range remove {
		name, addr, _ := strings.Cut(gone, ":")
		lines = slices.DeleteFunc(lines, func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 1 && slices.Contains(f[1:], name) && (addr == "" || f[0] == addr)
		})
	}
	return mergeList(lines, add, nil, same, same)
}

func mergeDNS(d, add, remove *DNSConfig) *DNSConfig {
	if add == nil && remove == nil {
		return d
	}
	var next, a, r DNSConfig
	for to, from := range map[*DNSConfig]*DNSConfig{&next: d, &a: add, &r: remove} {
		if from != nil {
			*to = *from
		}
	}
	next.Nameservers = mergeList(next.Nameservers, a.Nameservers, r.Nameservers, same, same)
	next.Search = mergeList(next.Search, a.Search, r.Search, same, same)
	next.Options = mergeList(next.Options, a.Options, r.Options, same, same)
	if len(next.Nameservers)+len(next.Search)+len(next.Options) == 0 {
		return nil
	}
	return &next
}
