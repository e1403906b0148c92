package main

import (
	"github.com/edgeswarm/edgeswarm/api"
)

// Service modes on the command line, as Docker writes them there.
const (
	modeReplicated    = "replicated"
	modeGlobal        = "global"
	modeReplicatedJob = "replicated-job"
	modeGlobalJob     = "global-job"
)

// serviceMode maps --mode and the flags that go with some modes only.
func (f *createFlags) serviceMode() (api.ServiceMode, error) {
	mode := f.mode.Or(modeReplicated)
	perNode, job := mode == modeGlobal || mode == modeGlobalJob, mode == modeReplicatedJob || mode == modeGlobalJob
	switch {
	case perNode && f.replicas.Value != nil:
		return api.ServiceMode{}, notOfMode("replicas", mode, "it runs one task on every node")
	case perNode && f.maxReplicas.Value != nil:
		return api.ServiceMode{}, notOfMode("replicas-max-per-node", mode, "it runs one task on every node")
	case mode != modeReplicatedJob && f.maxConcurrent.Value != nil:
		return api.ServiceMode{}, notOfMode("max-concurrent", mode, "only a replicated job runs some of its tasks after others")
	case job && (f.update.patch() != nil || f.rollback.patch() != nil):
		return api.ServiceMode{}, notOfMode("update-… or --rollback-…", mode, "a job's tasks are never replaced while they run")
	case job && f.restart.Or("") == api.RestartAny:
		return api.ServiceMode{}, notOfMode("restart-condition any", mode, "a task that completed is not run again; use on-failure or none")
	}
	switch mode {
	case modeGlobal:
		return api.ServiceMode{Global: &api.GlobalService{}}, nil
	case modeGlobalJob:
		return api.ServiceMode{GlobalJob: &api.GlobalJob{}}, nil
	case modeReplicatedJob:
		return api.ServiceMode{ReplicatedJob: &api.ReplicatedJob{MaxConcurrent: f.maxConcurrent.Value, TotalCompletions: f.replicas.Value}}, nil
	default:
		one := f.replicas.Or(1)
		return api.ServiceMode{Replicated: &api.ReplicatedService{Replicas: &one}}, nil
	}
}

func notOfMode(flag, mode, why string) error {
	return invalidf("--%s does not go with --mode %s: %s; leave one of the two out", flag, mode, why)
}

// modeOf is a service's mode as lists show it; filters take it with a dash for
// the space, as the flag does.
func modeOf(s *api.Service) string {
	switch mode := s.Spec.Mode; {
	case mode.Global != nil:
		return modeGlobal
	case mode.ReplicatedJob != nil:
		return "replicated job"
	case mode.GlobalJob != nil:
		return "global job"
	default:
		return modeReplicated
	}
}
