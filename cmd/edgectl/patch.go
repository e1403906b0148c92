package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

// changeFlags are the flags of `service update`.
type changeFlags struct {
	*taskFlags
	image, args                                  *flagvalue.Opt[string]
	envRemove, labelRemove, containerLabelRemove []string
	mountRemove, constraintRemove, networkRemove []string
	secretRemove, configRemove                   []string
	publishRemove                                *flagvalue.List[api.PortConfig]
	preferenceRemove                             *flagvalue.List[api.PlacementPreference]
	genericRemove                                []string
	force, rollbackNow                           bool
}

func (f *changeFlags) register(fs *pflag.FlagSet) {
	f.taskFlags = registerTaskFlags(fs, false)
	f.image = define(fs, "image", flagvalue.Text, "image", "image to run")
	f.args = define(fs, "args", flagvalue.Text, "command", "arguments for the entrypoint, in one argument")
	fs.StringArrayVar(&f.envRemove, "env-rm", nil, "remove an environment variable, by its `NAME`")
	fs.StringArrayVar(&f.labelRemove, "label-rm", nil, "remove a label of the service, by its `key`")
	fs.StringArrayVar(&f.containerLabelRemove, "container-label-rm", nil, "remove a label of the containers, by its `key`")
	fs.StringArrayVar(&f.mountRemove, "mount-rm", nil, "remove a mount, by its `target`")
	fs.StringArrayVar(&f.secretRemove, "secret-rm", nil, "take a `secret` from the tasks")
	fs.StringArrayVar(&f.configRemove, "config-rm", nil, "take a `config` from the tasks")
	fs.StringArrayVar(&f.constraintRemove, "constraint-rm", nil, "remove a `constraint`")
	fs.StringArrayVar(&f.networkRemove, "network-rm", nil, "detach tasks from a `network`")
	f.publishRemove = defineList(fs, "publish-rm", flagvalue.TargetPort, "port", "remove a published port, by its port inside the task")
	f.preferenceRemove = defineList(fs, "placement-pref-rm", api.ParsePreference, "pref", "remove a placement preference")
	fs.StringArrayVar(&f.genericRemove, "generic-resource-rm", nil, "ask no more for a generic resource, by its `name`")
	fs.BoolVar(&f.force, "force", false, "replace the tasks even if nothing else changes")
	fs.BoolVar(&f.rollbackNow, "rollback", false, "return to the previous spec")
}

// patch maps the flags to a change: what was not given stays as it is.
func (f *changeFlags) patch() (api.ServicePatch, error) {
	command, err := words("entrypoint", f.entrypoint.Value)
	if err != nil {
		return api.ServicePatch{}, err
	}
	args, err := words("args", f.args.Value)
	if err != nil {
		return api.ServicePatch{}, err
	}
	health, err := f.health.patch()
	if err != nil {
		return api.ServicePatch{}, err
	}
	if f.image.Value != nil && *f.image.Value == "" {
		return api.ServicePatch{}, invalidf("--image: it has no name: give one such as nginx:1.27")
	}
	p := api.ServicePatch{
		LabelAdd: flagvalue.Map(f.labels.Values), LabelRemove: f.labelRemove,
		Image: f.image.Value, Command: command, Args: args, Hostname: f.hostname.Value, Dir: f.dir.Value, User: f.user.Value, ReadOnly: f.readOnly.Value,
		EnvAdd: lastOfEach(f.env.Values), EnvRemove: f.envRemove,
		ContainerLabelAdd: flagvalue.Map(f.containerLabels.Values), ContainerLabelRemove: f.containerLabelRemove,
		MountAdd: f.mounts.Values, MountRemove: f.mountRemove, SecretAdd: f.secrets.Values, SecretRemove: f.secretRemove, ConfigAdd: f.configs.Values, ConfigRemove: f.configRemove,
		PublishAdd: f.ports.Values, PublishRemove: f.publishRemove.Values,
		ConstraintAdd: f.constraints.Values, ConstraintRemove: f.constraintRemove, PreferenceAdd: f.preferences.Values, PreferenceRemove: f.preferenceRemove.Values,
		MaxReplicas: f.maxReplicas.Value, NetworkAdd: f.attachments(), NetworkRemove: f.networkRemove, EndpointMode: f.endpointMode.Value,
		OptionsPatch: f.options.patch(), Limits: f.options.limits(amountsPatch(f.limitCPU, f.limitMemory)), Reservations: amountsPatch(f.reserveCPU, f.reserveMemory),
		GenericResourceAdd: f.generic.Values, GenericResourceRemove: f.genericRemove,
		RestartCondition: f.restart.Value, RestartDelay: f.restartDelay.Value, RestartMaxAttempts: f.restartMax.Value, RestartWindow: f.restartWindow.Value,
		StopSignal: f.stopSignal.Value, StopGracePeriod: f.stopGrace.Value, Replicas: f.replicas.Value, MaxConcurrent: f.maxConcurrent.Value,
		Health: health,
		Update: f.update.patch(), Rollback: f.rollback.patch(), Force: f.force,
	}
	return p, f.check()
}

// check refuses changes that contradict themselves.
func (f *changeFlags) check() error {
	for i, c := range f.constraintRemove {
		tidy, err := flagvalue.Constraint(c)
		if err != nil {
			return invalidf("--constraint-rm %s: %w", c, err)
		}
		f.constraintRemove[i] = tidy
	}
	for _, v := range f.env.Values {
		if v != "" && slices.Contains(f.envRemove, envName(v)) {
			return invalidf("variable %s is both added and removed: leave one of the two out", envName(v))
		}
	}
	for _, l := range f.labels.Values {
		if slices.Contains(f.labelRemove, l.Key) {
			return invalidf("label %s is both added and removed: leave one of the two out", l.Key)
		}
	}
	for _, r := range f.generic.Values {
		if slices.Contains(f.genericRemove, r.Kind()) {
			return invalidf("generic resource %s is both added and removed: leave one of the two out", r.Kind())
		}
	}
	return checkPorts(f.ports.Values, f.networks.Values)
}

func amountsPatch(cpu, memory *flagvalue.Opt[int64]) *api.ResourcesPatch {
	if cpu.Value == nil && memory.Value == nil {
		return nil
	}
	return &api.ResourcesPatch{NanoCPUs: cpu.Value, MemoryBytes: memory.Value}
}

// patch is nil when no flag was given.
func (u *updateFlags) patch() *api.UpdateConfigPatch {
	p := api.UpdateConfigPatch{
		Parallelism: u.parallelism.Value, Delay: u.delay.Value, FailureAction: u.action.Value,
		Monitor: u.monitor.Value, MaxFailureRatio: u.ratio.Value, Order: u.order.Value,
	}
	if p == (api.UpdateConfigPatch{}) {
		return nil
	}
	return &p
}

func envName(v string) string {
	name, _, _ := strings.Cut(v, "=")
	return name
}
