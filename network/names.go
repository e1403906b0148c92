package network

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
)

// Where a board's own resolvers are listed. With systemd-resolved the first
// names only a stub on loopback, which no task can reach; the second has the
// real ones.
var resolvConfs = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// writeNames writes the files that are bound over a task's own. Resolver is the
// board's address for names of networks; invalid if the task is on none.
func (l *Local) writeNames(task *api.Task, at agent.Attachment, resolver netip.Addr) error {
	resolv, err := resolvConf(l.cfg.Resolvers, usesHost(task))
	if err != nil {
		return fmt.Errorf("attach task: %w", err)
	}
	resolv = overridden(resolv, task.Spec.ContainerSpec.DNSConfig)
	if resolver.IsValid() {
		resolv = overridden(resolv, &api.DNSConfig{Nameservers: []string{resolver.String()}, Options: networkOptions(task)})
	}
	hostname := Hostname(task)
	files := map[string][]byte{
		at.ResolvConf:   resolv,
		at.Hosts:        hostsOf(hostname, at.Addr, task.Spec.ContainerSpec.Hosts),
		at.HostnameFile: []byte(hostname + "\n"),
	}
	for path, content := range files {
		// Written in place: the file is bound into a task that may be running,
		// and a new file under the same name would not be seen there.
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
			continue
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("attach task: %w", err)
		}
	}
	return nil
}

// networkOptions are a task's options for names. Those of services have no dot,
// and are to be asked for as they are before any search domain is tried.
func networkOptions(task *api.Task) []string {
	if d := task.Spec.ContainerSpec.DNSConfig; d != nil && len(d.Options) > 0 {
		return d.Options
	}
	return []string{"ndots:0"}
}

// resolversOf are the resolvers that the first fitting file names.
func resolversOf(paths []string) ([]string, error) {
	conf, err := resolvConf(paths, true)
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(conf)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			all = append(all, fields[1])
		}
	}
	return all, nil
}

// Hostname is a task's hostname: the one asked for, else the first 12
// characters of its ID, as in Docker.
func Hostname(task *api.Task) string {
	if h := task.Spec.ContainerSpec.Hostname; h != "" {
		return h
	}
	return api.ShortID(task.ID)
}

// hostsOf is the hosts file of a task, with the lines that it asks for behind
// its own.
func hostsOf(hostname, addr string, more []string) []byte {
	if addr == "" {
		addr = "127.0.1.1"
	}
	hosts := fmt.Appendf(nil, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s\n", addr, hostname)
	for _, line := range more {
		hosts = append(hosts, line+"\n"...)
	}
	return hosts
}

// overridden is a resolv.conf with what the task asks for in place of the
// board's lines of that kind, as in Docker.
func overridden(conf []byte, d *api.DNSConfig) []byte {
	if d == nil {
		return conf
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(conf)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "nameserver" && len(d.Nameservers) > 0:
		case (word == "search" || word == "domain") && len(d.Search) > 0:
		case word == "options" && len(d.Options) > 0:
		default:
			out.WriteString(line)
		}
	}
	for _, server := range d.Nameservers {
		out.WriteString("nameserver " + server + "\n")
	}
	if len(d.Search) > 0 {
		out.WriteString("search " + strings.Join(d.Search, " ") + "\n")
	}
	if len(d.Options) > 0 {
		out.WriteString("options " + strings.Join(d.Options, " ") + "\n")
	}
	return out.Bytes()
}

// resolvConf is the first of the files that names a resolver a task can reach.
func resolvConf(paths []string, loopbackReachable bool) ([]byte, error) {
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read resolvers: %w", err)
		}
		if reachable, found := filterResolvers(raw, loopbackReachable); found {
			return reachable, nil
		}
	}
	return nil, nil
}

// filterResolvers drops resolvers on loopback unless they can be reached, and
// tells whether any is left.
func filterResolvers(raw []byte, loopbackReachable bool) (kept []byte, found bool) {
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "nameserver" {
			addr, err := netip.ParseAddr(fields[1])
			if err != nil || addr.IsLoopback() && !loopbackReachable {
				continue
			}
			found = true
		}
		out.WriteString(lines.Text() + "\n")
	}
	return out.Bytes(), found
}
