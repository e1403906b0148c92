package main

import (
	"strings"
	"testing"
)

func TestTemplatesPassAndUnknownOnesAreRefused(t *testing.T) {
	got, err := specOf(t, "--hostname", "{{.Service.Name}}-{{.Task.Slot}}", "--env", "A={{.Node.Hostname}}", "--mount", "type=bind,src=/srv/{{.Task.Slot}},dst=/data", "--mount", "src=v-{{.Task.Slot}},dst=/v", "x")
	if c := got.TaskTemplate.ContainerSpec; err != nil || c.Hostname != "{{.Service.Name}}-{{.Task.Slot}}" || len(c.Mounts) != 2 || c.Mounts[1].Source != "v-{{.Task.Slot}}" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, args := range []string{"--hostname {{.Nope}} x", "--mount src={{.Nope}},dst=/a x", "--mount src=a,dst=/{{.Nope}} x"} {
		if _, err := specOf(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), "{{.Nope}}") {
			t.Errorf("%s: %v", args, err)
		}
	}
}
