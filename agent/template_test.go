package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestTemplatesAreFilledInOnTheBoard(t *testing.T) {
	inBubble(t, func(b *board) {
		a := task("a")
		a.ServiceLabels = map[string]string{"zone": "attic"}
		c := &a.Spec.ContainerSpec
		c.Hostname = "{{.Service.Name}}-{{.Task.Slot}}"
		c.Env = []string{"AT={{.Node.Hostname}}/{{.Node.ID}}", "ZONE={{.Service.Labels.zone}}", "ME={{.Task.Name}}"}
		c.Mounts = []api.Mount{{Type: api.MountVolume, Source: "data-{{.Task.Slot}}", Target: "/{{.Service.ID}}"}}
		b.leader.tasks(a)
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1)
		made, _ := b.host.Spec("a.1")
		if made.Hostname != "web-1" || strings.Join(made.Spec.Env, " ") != "AT=board1/node1 ZONE=attic ME=web.1.a" {
			t.Errorf("hostname %q, environment %q", made.Hostname, made.Spec.Env)
		}
		if m := made.Mounts[0]; m.Target != "/svc" || !strings.HasSuffix(m.Source, "/data-1") {
			t.Errorf("mount %+v", m)
		}
		if named := b.network.attached["a"].Spec.ContainerSpec.Hostname; named != "web-1" {
			t.Errorf("the network knows it as %q", named)
		}
		b.restart()
		b.after(time.Second)
		if named := b.network.attached["a"].Spec.ContainerSpec.Hostname; named != "web-1" {
			t.Errorf("after a restart the network knows it as %q", named)
		}
	})
}

func TestTemplateThatCannotBeFilledInIsRejected(t *testing.T) {
	inBubble(t, func(b *board) {
		bad, climbs := task("bad"), task("climbs")
		bad.ServiceLabels = map[string]string{"name": "not a host name"}
		bad.Spec.ContainerSpec.Hostname = "{{.Service.Labels.name}}"
		climbs.ServiceLabels = map[string]string{"name": "../../etc"}
		climbs.Spec.ContainerSpec.Mounts = []api.Mount{{Type: api.MountVolume, Source: "{{.Service.Labels.name}}", Target: "/a"}}
		b.leader.tasks(bad, climbs)
		b.after(time.Second)
		if s := b.want("bad", api.TaskRejected, 1); !strings.Contains(s.Err, "not a host name") {
			t.Errorf("status %+v", s)
		}
		b.want("climbs", api.TaskRejected, 1)
		b.wantRunning()
	})
}
