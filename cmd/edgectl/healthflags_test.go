package main

import (
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestHealthFlagsReachTheSpec(t *testing.T) {
	for _, c := range []struct {
		args string
		want *api.HealthConfig
	}{
		{"x", nil},
		{"--no-healthcheck x", &api.HealthConfig{Test: []string{"NONE"}}},
		{"--health-tcp 53 x", &api.HealthConfig{Test: []string{"TCP", "53"}}},
		{"--health-http :8080/up --health-retries 5 x", &api.HealthConfig{Test: []string{"HTTP", ":8080/up"}, Retries: 5}},
		{"--health-interval 1m x", &api.HealthConfig{Interval: time.Minute}},
		{"--health-cmd true --health-interval 1s --health-timeout 2s --health-retries 3 --health-start-period 4s --health-start-interval 5s x", &api.HealthConfig{
			Test: []string{"CMD-SHELL", "true"}, Interval: time.Second, Timeout: 2 * time.Second, Retries: 3, StartPeriod: 4 * time.Second, StartInterval: 5 * time.Second,
		}},
	} {
		got, err := specOf(t, strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		same(t, c.args, got.TaskTemplate.ContainerSpec.Healthcheck, c.want)
	}
}

func TestHealthFlagsReachThePatch(t *testing.T) {
	for _, c := range []struct {
		args string
		want *api.HealthPatch
	}{
		{"", nil},
		{"--health-cmd=", &api.HealthPatch{Test: &[]string{}}},
		{"--no-healthcheck", &api.HealthPatch{Test: &[]string{"NONE"}}},
		{"--health-retries 0 --health-timeout 0s", &api.HealthPatch{Retries: ptr(0), Timeout: ptr(time.Duration(0))}},
	} {
		got, err := patchOf(t, strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		same(t, c.args, got.Health, c.want)
	}
}

func TestHealthFlagsThatAreRefused(t *testing.T) {
	for args, names := range map[string]string{
		"--no-healthcheck --health-retries 3 x":   "--no-healthcheck",
		"--no-healthcheck --health-cmd true x":    "--no-healthcheck",
		"--health-cmd true --health-tcp 80 x":     "leave all but one out",
		"--health-http 8080up x":                  "health-http",
		"--health-http :0/ x":                     "health-http",
		"--health-tcp 70000 x":                    "health-tcp",
		"--health-interval 1us x":                 "at least 1ms",
		"--health-timeout -1s x":                  "health-timeout",
		"--health-retries -1 x":                   "health-retries",
		"--health-start-period soon x":            "health-start-period",
		"--health-start-interval 0.5 x":           "health-start-interval",
		"--health-http http://127.0.0.1:8080/a x": "health-http",
	} {
		if _, err := specOf(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, want it to say %q", args, err, names)
		}
	}
}
