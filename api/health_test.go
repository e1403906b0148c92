package api

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestHealthOver(t *testing.T) {
	full := func(test ...string) *HealthConfig {
		return &HealthConfig{Test: test, Interval: DefaultHealthInterval, Timeout: DefaultHealthTimeout, Retries: DefaultHealthRetries, StartInterval: DefaultHealthStartInterval}
	}
	image := &HealthConfig{Test: []string{"CMD", "up"}, Interval: time.Minute, Retries: 7, StartPeriod: time.Hour}
	for name, c := range map[string]struct{ own, image, want *HealthConfig }{
		"nothing":             {nil, nil, nil},
		"own":                 {&HealthConfig{Test: []string{"TCP", "80"}}, nil, full("TCP", "80")},
		"image's none":        {nil, &HealthConfig{Test: []string{"NONE"}}, nil},
		"own over none":       {&HealthConfig{Test: []string{"TCP", "80"}}, &HealthConfig{Test: []string{"NONE"}}, full("TCP", "80")},
		"own none":            {&HealthConfig{Test: []string{"NONE"}}, image, nil},
		"times of no check":   {&HealthConfig{Interval: time.Second}, nil, nil},
		"image's":             {nil, image, &HealthConfig{Test: []string{"CMD", "up"}, Interval: time.Minute, Timeout: DefaultHealthTimeout, Retries: 7, StartPeriod: time.Hour, StartInterval: DefaultHealthStartInterval}},
		"image's, own times":  {&HealthConfig{Interval: time.Second}, image, &HealthConfig{Test: []string{"CMD", "up"}, Interval: time.Second, Timeout: DefaultHealthTimeout, Retries: 7, StartPeriod: time.Hour, StartInterval: DefaultHealthStartInterval}},
		"own, image's times":  {&HealthConfig{Test: []string{"TCP", "80"}, Retries: 1}, image, &HealthConfig{Test: []string{"TCP", "80"}, Interval: time.Minute, Timeout: DefaultHealthTimeout, Retries: 1, StartPeriod: time.Hour, StartInterval: DefaultHealthStartInterval}},
		"an image's bad test": {nil, &HealthConfig{Test: []string{}}, nil},
	} {
		if got := c.own.Over(c.image); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestHealthIsValidated(t *testing.T) {
	for _, test := range [][]string{nil, {"NONE"}, {"CMD", "a", ""}, {"CMD-SHELL", "a || b"}, {"HTTP", ":80/a?b=c"}, {"HTTP", "80"}, {"TCP", ":53"}} {
		if err := (&HealthConfig{Test: test}).CheckTest(); err != nil {
			t.Errorf("%q: %v", test, err)
		}
	}
	for _, test := range [][]string{{"NONE", "x"}, {"CMD"}, {"CMD", ""}, {"CMD", "a\x00b"}, {"CMD-SHELL"}, {"CMD-SHELL", "a", "b"}, {"HTTP", ":80/a b"}, {"HTTP", "/a"}, {"HTTP", "h:80/"}, {"HTTP", ":80/#a"}, {"TCP", "0"}, {"TCP", "+80"}, {"TCP"}, {"ICMP"}, {""}} {
		if err := (&HealthConfig{Test: test}).CheckTest(); err == nil {
			t.Errorf("%q passes", test)
		}
	}
	for field, h := range map[string]HealthConfig{
		"Healthcheck.Test":          {Test: []string{"CMD"}},
		"Healthcheck.Interval":      {Interval: -1},
		"Healthcheck.Timeout":       {Timeout: time.Microsecond},
		"Healthcheck.StartPeriod":   {StartPeriod: -time.Second},
		"Healthcheck.StartInterval": {StartInterval: 1},
		"Healthcheck.Retries":       {Retries: -1},
	} {
		spec := ServiceSpec{Annotations: Annotations{Name: "web"}, TaskTemplate: TaskSpec{ContainerSpec: ContainerSpec{Image: "x", Healthcheck: &h}}}
		if err := spec.Validate(); KindOf(err) != Invalid || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: %v, want %s to be named", h, err, field)
		}
	}
}

func TestHealthMerge(t *testing.T) {
	none, cmd, empty := []string{"NONE"}, []string{"CMD", "a"}, []string{}
	minute, zero := time.Minute, time.Duration(0)
	for name, c := range map[string]struct {
		have  *HealthConfig
		patch *HealthPatch
		want  *HealthConfig
	}{
		"nothing":            {&HealthConfig{Test: cmd}, nil, &HealthConfig{Test: cmd}},
		"off forgets":        {&HealthConfig{Test: cmd, Interval: minute}, &HealthPatch{Test: &none}, &HealthConfig{Test: none}},
		"timing turns it on": {&HealthConfig{Test: none}, &HealthPatch{Interval: &minute}, &HealthConfig{Interval: minute}},
		"one field":          {&HealthConfig{Test: cmd, Retries: 2}, &HealthPatch{Interval: &minute}, &HealthConfig{Test: cmd, Retries: 2, Interval: minute}},
		"back to nothing":    {&HealthConfig{Test: cmd, Interval: minute}, &HealthPatch{Test: &empty, Interval: &zero}, nil},
	} {
		var spec ServiceSpec
		spec.TaskTemplate.ContainerSpec.Healthcheck = c.have
		got, err := spec.Merge(ServicePatch{Health: c.patch})
		if have := got.TaskTemplate.ContainerSpec.Healthcheck; err != nil || !reflect.DeepEqual(have, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, have, err, c.want)
		}
	}
	if _, err := (ServiceSpec{}).Merge(ServicePatch{Health: &HealthPatch{Test: &none, Interval: &minute}}); KindOf(err) != Invalid {
		t.Errorf("a check that is turned off and timed: %v", err)
	}
}
