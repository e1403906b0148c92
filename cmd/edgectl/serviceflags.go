package main

import (
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

// taskFlags are the flags that `service create` and `service update` share.
// What is not given stays nil: Swarm's default, or what the service has.
type taskFlags struct {
	replicas, maxReplicas       *flagvalue.Opt[uint64]
	maxConcurrent               *flagvalue.Opt[uint64]
	options                     optionFlags
	entrypoint                  *flagvalue.Opt[string]
	hostname, dir, user         *flagvalue.Opt[string]
	readOnly                    *flagvalue.Opt[bool]
	limitCPU, limitMemory       *flagvalue.Opt[int64]
	reserveCPU, reserveMemory   *flagvalue.Opt[int64]
	restart                     *flagvalue.Opt[api.RestartCondition]
	restartDelay, restartWindow *flagvalue.Opt[time.Duration]
	restartMax                  *flagvalue.Opt[uint64]
	stopSignal                  *flagvalue.Opt[string]
	stopGrace                   *flagvalue.Opt[time.Duration]
	update, rollback            updateFlags
	health                      healthFlags
	networks                    *flagvalue.List[api.NetworkAttachment]
	endpointMode                *flagvalue.Opt[api.ResolutionMode]
	labels, containerLabels     *flagvalue.List[flagvalue.Pair]
	env                         *flagvalue.List[string]
	mounts                      *flagvalue.List[api.Mount]
	ports                       *flagvalue.List[api.PortConfig]
	constraints                 *flagvalue.List[string]
	secrets                     *flagvalue.List[api.SecretReference]
	configs                     *flagvalue.List[api.ConfigReference]
	preferences                 *flagvalue.List[api.PlacementPreference]
	generic                     *flagvalue.List[api.GenericResource]
}

// registerTaskFlags adds the shared flags. A list is the whole list on create,
// and with the suffix "-add" what is added to it on update.
func registerTaskFlags(fs *pflag.FlagSet, create bool) *taskFlags {
	f := &taskFlags{}
	f.registerScalars(fs)
	f.registerPolicies(fs)
	f.options.register(fs, create)
	if create {
		f.registerLists(fs, func(name, short string) string { return name + "," + short }, "set")
	} else {
		f.registerLists(fs, func(name, _ string) string { return name + "-add" }, "add or change")
		fs.VisitAll(func(flag *pflag.Flag) { flag.Usage = defaults.ReplaceAllString(flag.Usage, "") })
	}
	return f
}

// defaults are what flags say of a new service; a change has none.
var defaults = regexp.MustCompile(` \(default [^)]*\)$`)

func (f *taskFlags) registerScalars(fs *pflag.FlagSet) {
	f.replicas = define(fs, "replicas", flagvalue.Count, "number", "number of tasks; of a job, how many must complete (default 1)")
	f.maxConcurrent = define(fs, "max-concurrent", flagvalue.Count, "number", "tasks of a replicated job that run at once (default: as many as --replicas)")
	f.maxReplicas = define(fs, "replicas-max-per-node", flagvalue.Count, "number", "most tasks on one node; 0 is no bound")
	f.entrypoint = define(fs, "entrypoint", flagvalue.Text, "command", "replace the image's entrypoint")
	f.hostname = define(fs, "hostname", hostname, "string", "hostname inside the tasks")
	f.dir = define(fs, "workdir,w", flagvalue.AbsPath, "path", "working directory inside the tasks")
	f.user = define(fs, "user,u", flagvalue.Text, "name|uid[:gid]", "user to run as")
	f.readOnly = defineBool(fs, "read-only", "let tasks not write to their root file system")
	f.limitCPU = define(fs, "limit-cpu", flagvalue.CPUs, "cores", "most cores a task may use, such as 0.5")
	f.limitMemory = define(fs, "limit-memory", flagvalue.Memory, "bytes", "most memory a task may use, such as 64m")
	f.reserveCPU = define(fs, "reserve-cpu", flagvalue.CPUs, "cores", "cores to keep free for a task")
	f.reserveMemory = define(fs, "reserve-memory", flagvalue.Memory, "bytes", "memory to keep free for a task")
	f.stopSignal = define(fs, "stop-signal", flagvalue.Signal, "signal", "signal that asks a task to end (default: the image's)")
	f.stopGrace = define(fs, "stop-grace-period", flagvalue.Duration, "duration", "time to end in before a task is killed (default 10s)")
}

func (f *taskFlags) registerPolicies(fs *pflag.FlagSet) {
	f.restart = define(fs, "restart-condition", flagvalue.Choice(api.RestartNone, api.RestartOnFailure, api.RestartAny), "none|on-failure|any", "when an ended task is started again (default any)")
	f.restartDelay = define(fs, "restart-delay", flagvalue.Duration, "duration", "pause before that (default 5s)")
	f.restartMax = define(fs, "restart-max-attempts", flagvalue.Count, "number", "how often on one board before another is tried; 0 is without limit")
	f.restartWindow = define(fs, "restart-window", flagvalue.Duration, "duration", "time over which attempts are counted; 0 counts all")
	f.endpointMode = define(fs, "endpoint-mode", flagvalue.Choice(api.ResolutionVIP, api.ResolutionDNSRR), "vip|dnsrr", "what the service's name stands for in its networks: one address that balances, or those of its tasks (default vip)")
	f.update.register(fs, "update", true)
	f.rollback.register(fs, "rollback", false)
	f.health.register(fs)
}

func (f *taskFlags) registerLists(fs *pflag.FlagSet, named func(name, short string) string, verb string) {
	f.labels = defineList(fs, named("label", "l"), flagvalue.ParsePair, "key=value", verb+" a label of the service")
	f.containerLabels = defineList(fs, named("container-label", ""), flagvalue.ParsePair, "key=value", verb+" a label of the containers")
	f.env = defineList(fs, named("env", "e"), flagvalue.Env, "NAME=value", verb+" an environment variable; NAME alone takes the value from here")
	f.mounts = defineList(fs, named("mount", ""), flagvalue.Mount, "mount", verb+" a mount: type=bind|volume|tmpfs,src=…,dst=…[,readonly][,tmpfs-size=…][,tmpfs-mode=…]")
	f.secrets = defineList(fs, named("secret", ""), flagvalue.Secret, "secret", verb+" a secret that tasks see: NAME, or source=NAME[,target=…][,uid=…][,gid=…][,mode=0444]")
	f.configs = defineList(fs, named("config", ""), flagvalue.Config, "config", verb+" a config that tasks see, in the same notation")
	f.ports = defineList(fs, named("publish", "p"), flagvalue.Port, "port", verb+" a published port: 8080:80[/udp] on every board; mode=host,target=80,published=8080 on the boards of its tasks")
	f.constraints = defineList(fs, named("constraint", ""), flagvalue.Constraint, "constraint", verb+" a bound on where tasks run, such as node.labels.zone==attic")
	f.preferences = defineList(fs, named("placement-pref", ""), api.ParsePreference, "pref", verb+" a preference: spread=node.labels.zone spreads tasks evenly over its values")
	f.generic = defineList(fs, named("generic-resource", ""), api.ParseGenericRequest, "name=amount", verb+" an amount of a generic resource that boards have, such as gpu=2; each task is given its own")
	f.networks = defineList(fs, named("network", ""), flagvalue.Network, "network", verb+" a network that tasks are on: NAME, or name=NAME[,alias=…]; host shares the board's own")
}

// define adds one flag to a set; name is "long" or "long,s".
func define[T comparable](fs *pflag.FlagSet, name string, parse func(string) (T, error), kind, usage string) *flagvalue.Opt[T] {
	o := flagvalue.New(parse, kind)
	long, short, _ := strings.Cut(name, ",")
	fs.VarP(o, long, short, usage)
	return o
}

func defineList[T any](fs *pflag.FlagSet, name string, parse func(string) (T, error), kind, usage string) *flagvalue.List[T] {
	l := flagvalue.NewList(parse, kind)
	long, short, _ := strings.Cut(name, ",")
	fs.VarP(l, long, short, usage)
	return l
}

func defineBool(fs *pflag.FlagSet, name, usage string) *flagvalue.Opt[bool] {
	o := define(fs, name, flagvalue.Bool, "bool", usage)
	long, _, _ := strings.Cut(name, ",")
	fs.Lookup(long).NoOptDefVal = "true"
	return o
}

// hostname reads the name a task has for itself: labels with dots between, or
// templates.
func hostname(s string) (string, error) {
	if s == "" { // back to the task's own
		return s, nil
	}
	if strings.Contains(s, "{{") {
		return s, api.CheckTemplate(s)
	}
	return flagvalue.Hostname(s)
}

// updateFlags are how an update, or a rollback, walks through the tasks.
type updateFlags struct {
	parallelism *flagvalue.Opt[uint64]
	delay       *flagvalue.Opt[time.Duration]
	monitor     *flagvalue.Opt[time.Duration]
	action      *flagvalue.Opt[api.FailureAction]
	ratio       *flagvalue.Opt[float64]
	order       *flagvalue.Opt[api.UpdateOrder]
}

// register adds the flags "<of>-parallelism" and so on. With short,
// --parallelism and --delay are the same flags under another name.
func (u *updateFlags) register(fs *pflag.FlagSet, of string, short bool) {
	u.parallelism = define(fs, of+"-parallelism", flagvalue.Count, "number", "tasks changed at once; 0 is all (default 1)")
	u.delay = define(fs, of+"-delay", flagvalue.Duration, "duration", "pause between waves (default 0s)")
	if short {
		fs.Var(u.parallelism, "parallelism", "same as --"+of+"-parallelism")
		fs.Var(u.delay, "delay", "same as --"+of+"-delay")
	}
	u.monitor = define(fs, of+"-monitor", flagvalue.Duration, "duration", "how long after its start a task's end counts as failure (default 5s)")
	actions := []api.FailureAction{api.FailurePause, api.FailureContinue, api.FailureRollback}
	if of == "rollback" {
		actions = actions[:2] // a rollback has nothing to go back to
	}
	words := string(actions[0])
	for _, a := range actions[1:] {
		words += "|" + string(a)
	}
	u.action = define(fs, of+"-failure-action", flagvalue.Choice(actions...), words, "what to do when too many fail (default pause)")
	u.ratio = define(fs, of+"-max-failure-ratio", flagvalue.Ratio, "ratio", "part of the tasks that may fail, from 0 to 1 (default 0)")
	u.order = define(fs, of+"-order", flagvalue.Choice(api.StopFirst, api.StartFirst), "stop-first|start-first", "which of the old and the new task goes first (default stop-first)")
}
