package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
)

// healthFlags say how tasks are probed: Docker's flags, and two of ours.
type healthFlags struct {
	cmd, http, tcp                        *flagvalue.Opt[string]
	interval, timeout, period, startEvery *flagvalue.Opt[time.Duration]
	retries                               *flagvalue.Opt[uint64]
	off                                   *flagvalue.Opt[bool]
}

func (f *healthFlags) register(fs *pflag.FlagSet) {
	f.cmd = define(fs, "health-cmd", flagvalue.Text, "command", "shell command that ends with 0 while a task is healthy (default: the image's check)")
	f.http = define(fs, "health-http", healthHTTP, ":port/path", "take a task for healthy while a GET of this port and path answers 200 to 399")
	f.tcp = define(fs, "health-tcp", healthTCP, "port", "take a task for healthy while it accepts connections on this port")
	f.interval = define(fs, "health-interval", healthTime, "duration", "pause between probes (default 30s)")
	f.timeout = define(fs, "health-timeout", healthTime, "duration", "how long a probe may take (default 30s)")
	f.retries = define(fs, "health-retries", flagvalue.Count, "number", "probes in a row that must fail for a task to be unhealthy (default 3)")
	f.period = define(fs, "health-start-period", healthTime, "duration", "time after a task's start in which failing probes don't count (default 0s)")
	f.startEvery = define(fs, "health-start-interval", healthTime, "duration", "pause between probes within the start period (default 5s)")
	f.off = defineBool(fs, "no-healthcheck", "don't probe, whatever the image says")
}

func healthHTTP(s string) (string, error) {
	if _, _, err := api.ParseHealthHTTP(s); err != nil {
		return "", errors.New("it is not a port and a path: give them such as :8080/health")
	}
	return s, nil
}

func healthTCP(s string) (string, error) {
	if _, err := api.ParseHealthTCP(s); err != nil {
		return "", errors.New("it is not a port: give one between 1 and 65535")
	}
	return s, nil
}

// healthTime reads a duration of 0, which is the image's or the default, or at
// least a millisecond.
func healthTime(s string) (time.Duration, error) {
	d, err := flagvalue.Duration(s)
	if err == nil && d > 0 && d < time.Millisecond {
		return 0, errors.New("it is too short: give at least 1ms")
	}
	return d, err
}

// patch is nil when no flag was given.
func (f *healthFlags) patch() (*api.HealthPatch, error) {
	p := &api.HealthPatch{
		Interval: f.interval.Value, Timeout: f.timeout.Value, StartPeriod: f.period.Value, StartInterval: f.startEvery.Value,
	}
	if n := f.retries.Value; n != nil {
		p.Retries = new(int(*n))
	}
	timed := *p != api.HealthPatch{}
	kinds := 0
	test := func(given *string, words ...string) {
		if given == nil {
			return
		}
		kinds++
		if *given == "" { // back to the image's
			words = []string{}
		}
		p.Test = &words
	}
	test(f.cmd.Value, api.HealthShell, f.cmd.Or(""))
	test(f.http.Value, api.HealthHTTP, f.http.Or(""))
	test(f.tcp.Value, api.HealthTCP, f.tcp.Or(""))
	if kinds > 1 {
		return nil, invalidf("--health-cmd, --health-http and --health-tcp: a task has one check; leave all but one out")
	}
	if f.off.Or(false) {
		if timed || kinds > 0 {
			return nil, invalidf("--no-healthcheck with other --health flags: a check that is off has no settings; leave one of the two out")
		}
		p.Test = &[]string{api.HealthNone}
	}
	if !timed && p.Test == nil {
		return nil, nil
	}
	return p, nil
}

// config is the check of a new service.
func (f *healthFlags) config() (*api.HealthConfig, error) {
	p, err := f.patch()
	if err != nil || p == nil {
		return nil, err
	}
	merged, err := api.ServiceSpec{}.Merge(api.ServicePatch{Health: p})
	if err != nil {
		return nil, err
	}
	return merged.TaskTemplate.ContainerSpec.Healthcheck, nil
}
