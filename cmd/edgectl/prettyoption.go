package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// options prints how a task's process is confined, where that is not the default.
func (s sheet) options(o api.ContainerOptions) {
	s.line(1, "Groups", strings.Join(o.Groups, " "))
	s.on("Privileged", o.Privileged)
	s.on("Init", o.Init != nil && *o.Init)
	s.on("TTY", o.TTY)
	s.line(1, "Capabilities added", strings.Join(o.CapabilityAdd, " "))
	s.line(1, "Capabilities dropped", strings.Join(o.CapabilityDrop, " "))
	for _, d := range o.Devices {
		text := d.Name()
		if d.PathInContainer != "" && d.PathInContainer != d.PathOnHost {
			text += " as " + d.PathInContainer
		}
		s.line(1, "Device", text+" ("+d.CgroupPermissions+")")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Sysctls)) {
		s.line(1, "Sysctl", name+"="+o.Sysctls[name])
	}
	for _, u := range o.Ulimits {
		s.line(1, "Ulimit", fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	if o.ShmSize > 0 {
		s.line(1, "/dev/shm", output.Bytes(o.ShmSize))
	}
	s.line(1, "Processes", o.PidMode)
	if o.OomScoreAdj != 0 {
		s.line(1, "OOM score", fmt.Sprint(o.OomScoreAdj))
	}
	s.line(1, "Hosts", strings.Join(o.Hosts, ", "))
	if d := o.DNSConfig; d != nil {
		s.line(1, "Name servers", strings.Join(d.Nameservers, " "))
		s.line(1, "Search domains", strings.Join(d.Search, " "))
		s.line(1, "Resolver options", strings.Join(d.Options, " "))
	}
}

func (s sheet) on(name string, on bool) {
	if on {
		s.line(1, name, "Yes")
	}
}

// devices prints what a board has; those of no class are left to --format json.
func (s sheet) devices(devices []api.BoardDevices) {
	for i, d := range devices {
		if i == 0 && d.Class != "" {
			fmt.Fprintln(s.w, "Devices:")
		}
		if d.Class != "" {
			s.line(1, output.Title(d.Class), strings.Join(d.Paths, ", "))
		}
	}
}

func swapText(n int64) string {
	if n < 0 {
		return "without limit"
	}
	return output.Bytes(n)
}
