package api

import (
	"reflect"
	"strings"
	"testing"
)

var sampleFacts = Facts{
	ServiceID: "sid", ServiceName: "web", ServiceLabels: map[string]string{"zone": "attic", "com.example.tier": "front", "braces": "{{.Task.ID}}"},
	NodeID: "nid", NodeHostname: "board1", NodePlatform: Platform{Architecture: "arm64", OS: "linux"},
	TaskID: "tid", TaskName: "web.3.tid", TaskSlot: 3,
}

func TestExpandTemplate(t *testing.T) {
	for in, want := range map[string]string{
		"":      "",
		"plain": "plain",
		"a}}b":  "a}}b",
		"{{.Service.ID}} {{ .Service.Name }} {{.Node.ID}}":                            "sid web nid",
		"{{.Node.Hostname}}/{{.Node.Platform.OS}}-{{.Node.Platform.Architecture}}":    "board1/linux-arm64",
		"{{.Task.ID}}-{{.Task.Name}}-{{.Task.Slot}}!":                                 "tid-web.3.tid-3!",
		"{{.Service.Labels.zone}}{{.Service.Labels.com.example.tier}}":                "atticfront",
		`{{index .Service.Labels "com.example.tier"}}{{ index  .Service.Labels "x"}}`: "front",
		"<{{.Service.Labels.none}}>":                                                  "<>",
		"{{.Service.Labels.braces}}":                                                  "{{.Task.ID}}", // once only
		`{{"{{"}}.Task.ID}}`:                                                          "{{.Task.ID}}",
		"{{`a}}b`}}":                                                                  "a}}b",
	} {
		got, err := ExpandTemplate(in, sampleFacts)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
		if err := CheckTemplate(in); err != nil {
			t.Errorf("check %s: %v", in, err)
		}
	}
}

func TestUnknownTemplatesAreNamed(t *testing.T) {
	for in, names := range map[string]string{
		"{{.Task.Slots}}": "{{.Task.Slots}}", "{{.task.slot}}": ".Task.Slot", "{{}}": "{{}}", "a {{.Task.Slot": "no end", "{{\"a}}": "not closed",
		"{{- .Task.Slot}}": "{{- .Task.Slot}}", "{{.Service}}": "{{.Service}}", "{{.Service.Labels}}": "{{.Service.Labels}}", "{{.Service.Labels.}}": "Labels.}}",
		"{{printf \"%d\" .Task.Slot}}": "printf", "{{index .Node.Labels \"a\"}}": "index", "{{index .Service.Labels \"\"}}": "index",
		"{{index .Service.Labels a}}": "index", "{{.Task.Slot}}{{if true}}": "if true", "{{'a'}}": "'a'", "{{.Service.Labels.a b}}": "a b",
	} {
		err := CheckTemplate(in)
		if err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v, want %q to be named", in, err, names)
		}
		if _, err := ExpandTemplate(in, sampleFacts); err == nil {
			t.Errorf("%s expands", in)
		}
	}
}

func TestTemplatesAreValidated(t *testing.T) {
	spec := func(edit func(*ContainerSpec)) ServiceSpec {
		s := ServiceSpec{Annotations: Annotations{Name: "web"}, TaskTemplate: TaskSpec{ContainerSpec: ContainerSpec{Image: "x"}}}
		edit(&s.TaskTemplate.ContainerSpec)
		return s
	}
	good := spec(func(c *ContainerSpec) {
		c.Hostname = "{{.Service.Name}}-{{.Task.Slot}}.{{.Node.Hostname}}"
		c.Env = []string{"A={{.Task.ID}}", "{{.Node.ID}}=b"}
		c.Mounts = []Mount{
			{Type: MountVolume, Source: "data-{{.Task.Slot}}", Target: "/data/{{.Task.Slot}}"},
			{Type: MountBind, Source: "/srv/{{.Node.Hostname}}", Target: "/data/{{.Task.ID}}"},
		}
	})
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for field, edit := range map[string]func(*ContainerSpec){
		"ContainerSpec.Hostname": func(c *ContainerSpec) { c.Hostname = "{{.Task.Slots}}" },
		"ContainerSpec.Env":      func(c *ContainerSpec) { c.Env = []string{"A={{.Nope}}"} },
		"ContainerSpec.Mounts":   func(c *ContainerSpec) { c.Mounts = []Mount{{Type: MountVolume, Source: "a{{", Target: "/a"}} },
		"host name":              func(c *ContainerSpec) { c.Hostname = "a_{{.Task.Slot}}" },
		"absolute":               func(c *ContainerSpec) { c.Mounts = []Mount{{Type: MountVolume, Source: "a", Target: "{{.Task.Slot}}"}} },
		"two mounts": func(c *ContainerSpec) {
			c.Mounts = []Mount{{Type: MountTmpfs, Target: "/{{.Task.Slot}}"}, {Type: MountTmpfs, Target: "/{{ .Task.Slot }}"}}
		},
	} {
		if err := spec(edit).Validate(); KindOf(err) != Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want %s to be named", err, field)
		}
	}
}

func TestExpandOfASpec(t *testing.T) {
	s := ContainerSpec{Image: "{{.Task.ID}}", Hostname: "{{.Service.Name}}-{{.Task.Slot}}", Env: []string{"A={{.Node.Hostname}}", "B"}, Mounts: []Mount{{Source: "{{.Task.Slot}}", Target: "/{{.Service.Labels.zone}}"}}}
	before := Clone(s)
	got, err := s.Expand(sampleFacts)
	want := ContainerSpec{Image: "{{.Task.ID}}", Hostname: "web-3", Env: []string{"A=board1", "B"}, Mounts: []Mount{{Source: "3", Target: "/attic"}}}
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(s, before) {
		t.Errorf("%+v, %v; of %+v", got, err, s)
	}
	s.Hostname = "{{.Service.Labels.braces}}"
	if _, err := s.Expand(sampleFacts); err == nil {
		t.Error("a label that is no host name becomes one")
	}
	service := ServiceSpec{Annotations: Annotations{Labels: map[string]string{"zone": "attic", "other": "x"}}, TaskTemplate: TaskSpec{ContainerSpec: before}}
	if got := service.TemplateLabels(); !reflect.DeepEqual(got, map[string]string{"zone": "attic"}) {
		t.Errorf("labels %v travel with the tasks", got)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"a{{.Task.Slot}}b", `{{"{{"}}`, "{{`", "{{index .Service.Labels \"a\"}}", "{{.Service.Labels.zone}}}}{{", "{{ \"\\x7d}}\" }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := ExpandTemplate(s, sampleFacts)
		if checked := CheckTemplate(s); (checked == nil) != (err == nil) {
			t.Fatalf("checked %v, expanded %v", checked, err)
		}
		if !strings.Contains(s, "{{") && (err != nil || out != s) {
			t.Fatalf("%q is no template, but becomes %q, %v", s, out, err)
		}
		// Text of any kind can be written so that it expands to itself.
		if escaped, err := ExpandTemplate(strings.ReplaceAll(s, "{{", "{{`{{`}}"), sampleFacts); err != nil || escaped != s {
			t.Fatalf("escaped %q becomes %q, %v", s, escaped, err)
		}
	})
}
