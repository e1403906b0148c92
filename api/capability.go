package api

import (
	"maps"
	"slices"
	"strings"
)

// Words in a list of capabilities, Docker's.
const (
	AllCapabilities = "ALL"
	// resetCapabilities empties a list, in a change to a service.
	resetCapabilities = "RESET"
)

// capabilities that Linux has, without "CAP_" (capabilities(7)).
var capabilities = strings.Fields(`AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
	DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
	NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE
	SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)

// normalCapability is the form that is stored: "CAP_NET_ADMIN" for "net_admin".
func normalCapability(name string) string {
	name = strings.ToUpper(strings.TrimSpace(name))
	if name == AllCapabilities || name == resetCapabilities || strings.HasPrefix(name, "CAP_") {
		return name
	}
	return "CAP_" + name
}

// normalCapabilities sorts the list and drops what is there twice; ALL stands
// for every other.
func normalCapabilities(list []string) []string {
	set := capabilitySet(list)
	if set[AllCapabilities] {
		return []string{AllCapabilities}
	}
	if len(set) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(set))
}

func capabilitySet(list []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range list {
		set[normalCapability(name)] = true
	}
	return set
}

// mergeCapabilities changes both lists as `docker service update` does: what
// is added leaves the list of what is dropped, and only if it was not there
// enters the other; and the other way round. Adding wins over dropping. RESET
// empties a list first.
func mergeCapabilities(added, dropped, add, drop []string) (newAdded, newDropped []string) {
	has, lacks := capabilitySet(added), capabilitySet(dropped)
	toAdd, toDrop := capabilitySet(add), capabilitySet(drop)
	if toAdd[resetCapabilities] {
		clear(has)
		delete(toAdd, resetCapabilities)
	}
	if toDrop[resetCapabilities] {
		clear(lacks)
		delete(toDrop, resetCapabilities)
	}
	for name := range toDrop {
		switch {
		case toAdd[name]:
		case has[name]:
			delete(has, name)
		default:
			lacks[name] = true
		}
	}
	for name := range toAdd {
		if lacks[name] {
			delete(lacks, name)
		} else {
			has[name] = true
		}
	}
	return normalCapabilities(slices.Collect(maps.Keys(has))), normalCapabilities(slices.Collect(maps.Keys(lacks)))
}

func (c *check) capabilities(field string, list []string) {
	for _, name := range list {
		normal := normalCapability(name)
		c.that(normal == AllCapabilities || slices.Contains(capabilities, strings.TrimPrefix(normal, "CAP_")), field,
			"%q is not a capability of Linux: names are such as NET_ADMIN, or ALL", name)
	}
}
