package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// sheet prints "key: value" lines, without those that have no value.
type sheet struct{ w io.Writer }

func (s sheet) line(indent int, key string, value string) {
	if value != "" {
		fmt.Fprintf(s.w, "%*s%s: %s\n", indent, "", key, output.Safe(value))
	}
}

func (s sheet) labels(title string, labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	fmt.Fprintln(s.w, title+":")
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(s.w, " - %s\n", output.Safe(k+"="+labels[k]))
	}
}

func prettyNode(w io.Writer, n *api.Node) {
	s := sheet{w}
	s.line(0, "ID", string(n.ID))
	s.line(0, "Name", n.Spec.Name)
	s.line(0, "Hostname", n.Description.Hostname)
	s.line(0, "Joined", output.Ago(now(), n.CreatedAt))
	s.labels("Labels", n.Spec.Labels)
	fmt.Fprintln(w, "Status:")
	s.line(1, "State", output.Title(string(n.Status.State)))
	s.line(1, "Since", output.Ago(now(), n.Status.Since))
	s.line(1, "Message", n.Status.Message)
	s.line(1, "Availability", output.Title(string(n.Spec.Availability)))
	s.line(1, "Wanted role", output.Title(string(n.Spec.Role)))
	var addrs []string
	for _, a := range n.Status.Addrs {
		addrs = append(addrs, a.String())
	}
	s.line(1, "Addresses", strings.Join(addrs, ", "))
	if m := n.ManagerStatus; m != nil {
		fmt.Fprintln(w, "Manager Status:")
		s.line(1, "Leader", yes(m.Leader))
		s.line(1, "Votes", yes(m.Voter))
		s.line(1, "Reachability", output.Title(string(m.Reachability)))
		s.line(1, "Address", m.Addr)
	}
	fmt.Fprintln(w, "Board:")
	s.line(1, "Model", n.Description.Model)
	s.line(1, "Platform", n.Description.Platform.String())
	s.line(1, "CPUs", output.CPUs(n.Description.Resources.NanoCPUs))
	s.line(1, "Memory", output.Bytes(n.Description.Resources.MemoryBytes))
	if total := n.Description.MemoryTotal; total != 0 {
		s.line(1, "Memory in all", output.Bytes(total))
	}
	s.line(1, "Version", n.Description.Engine.EngineVersion)
	s.line(1, "Runtime", n.Description.Engine.Runtime)
	s.line(1, "Runtime error", n.Description.Engine.RuntimeError)
	s.line(1, "Trouble", n.Description.Trouble)
	s.line(1, "Generic resources", api.GenericText(n.Description.Resources.GenericResources))
	s.devices(n.Description.Devices)
	fmt.Fprintln(w)
}

func yes(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}

func prettyService(w io.Writer, v *api.Service) {
	s := sheet{w}
	t := v.Spec.TaskTemplate
	s.line(0, "ID", string(v.ID))
	s.line(0, "Name", v.Spec.Name)
	s.labels("Labels", v.Spec.Labels)
	s.line(0, "Mode", modeOf(v))
	if v.Spec.Mode.Replicated != nil {
		s.line(0, "Replicas", fmt.Sprint(v.Spec.Replicas()))
	}
	if v.Spec.Mode.ReplicatedJob != nil {
		most, total := v.Spec.Mode.Concurrency()
		s.line(0, "Max Concurrent", fmt.Sprint(most))
		s.line(0, "Total Completions", fmt.Sprint(total))
	}
	if j := v.JobStatus; j != nil {
		s.line(0, "Job Iteration", fmt.Sprint(j.JobIteration.Index))
		s.line(0, "Last Execution", output.Ago(now(), j.LastExecution))
	}
	if u := v.UpdateStatus; u != nil {
		fmt.Fprintln(w, "Update:")
		s.line(1, "State", string(u.State))
		if u.StartedAt != nil {
			s.line(1, "Started", output.Ago(now(), *u.StartedAt))
		}
		if u.CompletedAt != nil {
			s.line(1, "Completed", output.Ago(now(), *u.CompletedAt))
		}
		s.line(1, "Message", u.Message)
	}
	s.updateConfig("Update Config", v.Spec.UpdateConfig)
	s.updateConfig("Rollback Config", v.Spec.RollbackConfig)
	if p := t.Placement; p != nil && (len(p.Constraints) > 0 || len(p.Preferences) > 0 || p.MaxReplicas > 0) {
		fmt.Fprintln(w, "Placement:")
		s.line(1, "Constraints", strings.Join(p.Constraints, ", "))
		for _, preference := range p.Preferences {
			s.line(1, "Preference", preference.String())
		}
		if p.MaxReplicas > 0 {
			s.line(1, "Max Replicas Per Node", fmt.Sprint(p.MaxReplicas))
		}
	}
	s.container(t.ContainerSpec)
	s.resources(t.Resources)
	s.line(0, "Ports", portsOf(v))
	fmt.Fprintln(w)
}

func (s sheet) updateConfig(title string, u *api.UpdateConfig) {
	if u == nil {
		return
	}
	fmt.Fprintln(s.w, title+":")
	s.line(1, "Parallelism", fmt.Sprint(u.Parallelism))
	s.line(1, "Delay", u.Delay.String())
	s.line(1, "On failure", string(u.FailureAction))
	s.line(1, "Monitoring period", u.Monitor.String())
	s.line(1, "Max failure ratio", fmt.Sprint(u.MaxFailureRatio))
	s.line(1, "Order", string(u.Order))
}

func (s sheet) container(c api.ContainerSpec) {
	fmt.Fprintln(s.w, "Container:")
	s.line(1, "Image", c.Image)
	s.line(1, "Entrypoint", strings.Join(c.Command, " "))
	s.line(1, "Args", strings.Join(c.Args, " "))
	s.line(1, "Env", strings.Join(c.Env, " "))
	s.line(1, "Dir", c.Dir)
	s.line(1, "User", c.User)
	s.options(c.ContainerOptions)
	for _, m := range c.Mounts {
		text := m.Target + " (" + strings.TrimSpace(string(m.Type)+" "+m.Source) + ")"
		if m.ReadOnly {
			text += ", read only"
		}
		s.line(1, "Mount", text)
	}
}

func (s sheet) resources(r *api.ResourceRequirements) {
	if r == nil {
		return
	}
	s.amounts("Limits", r.Limits)
	s.amounts("Reservations", r.Reservations)
	if swap := r.SwapBytes; swap != nil {
		s.line(0, "Swap", swapText(*swap))
	}
}

func (s sheet) amounts(title string, r *api.Resources) {
	if r == nil {
		return
	}
	fmt.Fprintln(s.w, title+":")
	if r.NanoCPUs != 0 {
		s.line(1, "CPUs", output.CPUs(r.NanoCPUs))
	}
	if r.MemoryBytes != 0 {
		s.line(1, "Memory", output.Bytes(r.MemoryBytes))
	}
	if r.Pids != 0 {
		s.line(1, "PIDs", fmt.Sprint(r.Pids))
	}
	s.line(1, "Generic resources", api.GenericText(r.GenericResources))
}
