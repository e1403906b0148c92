package main

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

// createFlags are the flags of `service create`.
type createFlags struct {
	*taskFlags
	name     *flagvalue.Opt[string]
	mode     *flagvalue.Opt[string]
	envFiles []string
	endpoint *string // the node to speak to, which --host may name too
}

func (f *createFlags) register(fs *pflag.FlagSet) {
	f.taskFlags = registerTaskFlags(fs, true)
	f.options.registerHost(fs, f.endpoint)
	f.name = define(fs, "name", flagvalue.Label, "string", "name of the service (default: a made-up one)")
	f.mode = define(fs, "mode", flagvalue.Choice(modeReplicated, modeGlobal, modeReplicatedJob, modeGlobalJob), "mode", "replicated (some tasks anywhere), global (one on every node), replicated-job or global-job (the same, but run once to completion) (default replicated)")
	fs.StringArrayVar(&f.envFiles, "env-file", nil, "`file` of environment variables, one a line")
}

// spec maps the flags and arguments to what is declared.
func (f *createFlags) spec(image string, args []string) (api.ServiceSpec, error) {
	if image == "" {
		return api.ServiceSpec{}, invalidf("the image has no name: give one such as nginx:1.27")
	}
	var files []string
	for _, path := range f.envFiles {
		env, err := flagvalue.EnvFile(path)
		if err != nil {
			return api.ServiceSpec{}, invalidf("%w", err)
		}
		files = append(files, env...)
	}
	mode, err := f.serviceMode()
	if err != nil {
		return api.ServiceSpec{}, err
	}
	command, err := words("entrypoint", f.entrypoint.Value)
	if err != nil {
		return api.ServiceSpec{}, err
	}
	health, err := f.health.config()
	if err != nil {
		return api.ServiceSpec{}, err
	}
	spec := api.ServiceSpec{
		Annotations: api.Annotations{Name: f.name.Or(""), Labels: flagvalue.Map(f.labels.Values)},
		Mode:        mode, UpdateConfig: f.update.config(), RollbackConfig: f.rollback.config(),
		TaskTemplate: api.TaskSpec{
			ContainerSpec: api.ContainerSpec{
				Image: image, Labels: flagvalue.Map(f.containerLabels.Values), Args: args,
				Hostname: f.hostname.Or(""), Env: lastOfEach(append(files, f.env.Values...)), Dir: f.dir.Or(""), User: f.user.Or(""),
				ReadOnly: f.readOnly.Or(false), Mounts: f.mounts.Values, Secrets: f.secrets.Values, Configs: f.configs.Values, StopSignal: f.stopSignal.Or(""), StopGracePeriod: f.stopGrace.Value,
				Healthcheck:      health,
				ContainerOptions: f.options.spec(),
			},
			Resources: f.options.resources(f.resources()), RestartPolicy: f.restartPolicy(), Placement: f.placement(), Networks: f.attachments(),
		},
	}
	if command != nil {
		spec.TaskTemplate.ContainerSpec.Command = *command
	}
	if len(f.ports.Values) > 0 || f.endpointMode.Value != nil {
		spec.EndpointSpec = &api.EndpointSpec{Mode: f.endpointMode.Or(""), Ports: f.ports.Values}
	}
	return spec, checkPorts(f.ports.Values, f.networks.Values)
}

func (f *taskFlags) resources() *api.ResourceRequirements {
	r := &api.ResourceRequirements{Limits: amounts(f.limitCPU, f.limitMemory), Reservations: amounts(f.reserveCPU, f.reserveMemory)}
	if len(f.generic.Values) > 0 {
		if r.Reservations == nil {
			r.Reservations = &api.Resources{}
		}
		r.Reservations.GenericResources = f.generic.Values
	}
	if r.Limits == nil && r.Reservations == nil {
		return nil
	}
	return r
}

func amounts(cpu, memory *flagvalue.Opt[int64]) *api.Resources {
	if cpu.Or(0) == 0 && memory.Or(0) == 0 {
		return nil
	}
	return &api.Resources{NanoCPUs: cpu.Or(0), MemoryBytes: memory.Or(0)}
}

func (f *taskFlags) restartPolicy() *api.RestartPolicy {
	if f.restart.Value == nil && f.restartDelay.Value == nil && f.restartMax.Value == nil && f.restartWindow.Value == nil {
		return nil
	}
	return &api.RestartPolicy{
		Condition: f.restart.Or(""), Delay: f.restartDelay.Value, MaxAttempts: f.restartMax.Value, Window: f.restartWindow.Value,
	}
}

func (f *taskFlags) placement() *api.Placement {
	if len(f.constraints.Values) == 0 && len(f.preferences.Values) == 0 && f.maxReplicas.Or(0) == 0 {
		return nil
	}
	return &api.Placement{Constraints: f.constraints.Values, Preferences: f.preferences.Values, MaxReplicas: f.maxReplicas.Or(0)}
}

// attachments are the networks asked for; one that is named twice, to the letter,
// counts once.
func (f *taskFlags) attachments() []api.NetworkAttachment {
	var n []api.NetworkAttachment
	for _, a := range f.networks.Values {
		if !slices.ContainsFunc(n, func(o api.NetworkAttachment) bool { return api.Equal(o, a) }) {
			n = append(n, a)
		}
	}
	return n
}

// config is nil when no flag was given; else what was not given is Swarm's
// default.
func (u *updateFlags) config() *api.UpdateConfig {
	if u.patch() == nil {
		return nil
	}
	return &api.UpdateConfig{
		Parallelism: u.parallelism.Or(1), Delay: u.delay.Or(0), FailureAction: u.action.Or(api.FailurePause),
		Monitor: u.monitor.Or(5 * time.Second), MaxFailureRatio: u.ratio.Or(0), Order: u.order.Or(api.StopFirst),
	}
}

// words splits a command that was given in one argument; nil when none was.
func words(flag string, s *string) (*[]string, error) {
	if s == nil {
		return nil, nil
	}
	w, err := flagvalue.Words(*s)
	if err != nil {
		return nil, invalidf("--%s %s: %w", flag, *s, err)
	}
	if w == nil {
		w = []string{} // given, and empty: back to the image's
	}
	return &w, nil
}

// lastOfEach drops variables that a later one replaces, and those that have no
// value anywhere.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var kept []string
	for _, v := range env {
		if v == "" {
			continue
		}
		name := envName(v)
		if i, dup := at[name]; dup {
			kept[i] = v
			continue
		}
		at[name] = len(kept)
		kept = append(kept, v)
	}
	return kept
}

// checkPorts refuses ports that can't be published together.
func checkPorts(ports []api.PortConfig, networks []api.NetworkAttachment) error {
	onHost := slices.ContainsFunc(networks, func(n api.NetworkAttachment) bool { return n.Target == api.NetworkHost })
	if len(ports) > 0 && onHost {
		return invalidf("--publish with --network host: a task on the board's network already has all its ports there; leave one of the two out")
	}
	type published struct {
		protocol api.Protocol
		port     uint16
	}
	seen := map[published]bool{}
	for _, p := range ports {
		key := published{p.Protocol, p.PublishedPort}
		if p.PublishedPort != 0 && seen[key] {
			return invalidf("port %d/%s is published twice: give each its own", p.PublishedPort, p.Protocol)
		}
		seen[key] = true
	}
	return nil
}
