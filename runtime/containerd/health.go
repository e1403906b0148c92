package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/edgeswarm/edgeswarm/api"
)

// healthcheck is what an image's configuration says of its health: Docker's
// addition to OCI's. It is kept with the container's record, because the image
// may be gone when a later process of ours asks.
type healthcheck struct {
	Test          []string
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
}

// extensionHealth names the check among a record's extensions. A label could
// not hold it: the daemon bounds those to 4 KiB.
const extensionHealth = "edgeswarm.health"

// healthcheckOf reads the check from an image's configuration; nil if there is
// none that says anything.
func healthcheckOf(config []byte) (*healthcheck, error) {
	var docker struct {
		Config struct {
			Healthcheck *healthcheck
			Shell       []string
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &docker); err != nil {
		return nil, err
	}
	h := docker.Config.Healthcheck
	if h == nil {
		return nil, nil
	}
	if shell := docker.Config.Shell; len(h.Test) == 2 && h.Test[0] == api.HealthShell && len(shell) > 0 {
		h.Test = append(append([]string{api.HealthCommand}, shell...), h.Test[1])
	}
	return h, nil
}

func (h *healthcheck) extensions() (map[string]typeurl.Any, error) {
	if h == nil {
		return nil, nil
	}
	raw, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return map[string]typeurl.Any{extensionHealth: &anypb.Any{TypeUrl: extensionHealth, Value: raw}}, nil
}

// Healthcheck implements runtime.Driver.
func (d *Driver) Healthcheck(ctx context.Context, id string) (*api.HealthConfig, error) {
	const op = "read health check of container"
	rec, err := d.record(ctx, op, id)
	if err != nil {
		return nil, err
	}
	kept := rec.Extensions[extensionHealth]
	if kept == nil {
		return nil, nil
	}
	var h healthcheck
	if err := json.Unmarshal(kept.GetValue(), &h); err != nil {
		return nil, fmt.Errorf("%s %s: %w", op, id, err)
	}
	config := &api.HealthConfig{
		Test: h.Test, Interval: max(0, h.Interval), Timeout: max(0, h.Timeout), Retries: max(0, h.Retries),
		StartPeriod: max(0, h.StartPeriod), StartInterval: max(0, h.StartInterval),
	}
	// An image's check that can't be carried out checks nothing, as in Docker.
	if len(h.Test) > 0 && h.Test[0] != api.HealthNone && h.Test[0] != api.HealthCommand && h.Test[0] != api.HealthShell || config.CheckTest() != nil {
		d.log.Warn("image asks for a health check of an unknown kind", "container", id)
		return nil, nil
	}
	return config, nil
}
