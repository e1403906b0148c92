package api

import "testing"

func TestMayUseAVolume(t *testing.T) {
	for template, of := range map[string]map[string]bool{
		"data":                                   {"data": true, "data1": false, "dat": false},
		"data-{{.Task.Slot}}":                    {"data-1": true, "data-": true, "data": false, "other-1": false},
		"{{.Service.Name}}-x-{{.Node.Hostname}}": {"web-x-board1": true, "web-y-board1": false, "-x-": true},
		`a{{"{{"}}`:                              {"a{{": true, "a": false},
		"{{.Task.ID}}":                           {"anything": true},
		"":                                       {"": false, "data": false},
		"x{{.Task.Slot}}x":                       {"xx": true, "x": false, "x1x": true},
	} {
		spec := ContainerSpec{Mounts: []Mount{{Type: MountBind, Source: "/data"}, {Type: MountVolume, Source: template}}}
		for name, want := range of {
			if spec.MayUse(name) != want {
				t.Errorf("%q may be %q: %v", template, name, !want)
			}
		}
	}
	if (ContainerSpec{Mounts: []Mount{{Type: MountBind, Source: "/data"}}}).MayUse("/data") {
		t.Error("a bind mount is taken for a volume")
	}
}
