package api

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatABoardHas(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"ssd=3":                        "ssd=3",
		"gpu=UUID1 gpu=UUID2":          "gpu=UUID1, gpu=UUID2",
		"gpu=UUID2 ssd=3 gpu=UUID1":    "gpu=UUID2, gpu=UUID1, ssd=3",
		"NVIDIA-GPU=GPU-45cbf7b3-f919": "NVIDIA-GPU=GPU-45cbf7b3-f919",
		"gpu=3x dongle=usb:1-1.2":      "gpu=3x, dongle=usb:1-1.2",
	} {
		list, err := ParseGenericResources(strings.Fields(text))
		if err != nil || GenericText(list) != want {
			t.Errorf("%q: %s, %v", text, GenericText(list), err)
		}
	}
	for text, say := range map[string]string{
		"gpu":                             "NAME=value",
		"gpu=":                            "NAME=value",
		"=1":                              "not a generic resource's name",
		"g+pu=1":                          "not a generic resource's name",
		"gpu=a,b":                         "no space, comma",
		"gpu=a=b":                         "no space, comma",
		"gpu=0":                           "not an amount from 1",
		"gpu=-1":                          "not an amount from 1",
		"gpu=9999999999":                  "not an amount from 1",
		"gpu=A gpu=A":                     "given twice",
		"gpu=A gpu=2":                     "is an amount, but there are other values",
		"gpu=1 gpu=2":                     "is an amount, but there are other values",
		"gpu=A GPU=B":                     "would be one variable, DOCKER_RESOURCE_GPU",
		"gpu=" + strings.Repeat("x", 129): "up to 128 characters",
	} {
		if list, err := ParseGenericResources(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %s, %v; want %q", text, GenericText(list), err, say)
		}
	}
	var many []string
	for i := range 1000 {
		many = append(many, "gpu=card"+strings.Repeat("0", 4)+string(rune('a'+i%26))+strings.Repeat("x", i/26))
	}
	if _, err := ParseGenericResources(many); err == nil || !strings.Contains(err.Error(), "more than the") {
		t.Errorf("more than a board may report is taken: %v", err)
	}
}

func TestWhatAServiceAsksFor(t *testing.T) {
	if r, err := ParseGenericRequest("gpu=2"); err != nil || r.String() != "gpu=2" || r.Amount() != 2 || r.Kind() != "gpu" {
		t.Errorf("%v, %v", r, err)
	}
	for _, text := range []string{"", "gpu", "gpu=", "gpu=UUID1", "gpu=0", "gpu=-1", "gpu=1.5", "=2", "g pu=1", "gpu=1,ssd=1"} {
		if r, err := ParseGenericRequest(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is taken as %v: %v", text, r, err)
		}
	}
	ask := func(kind string, n int64) GenericResource {
		return GenericResource{DiscreteResourceSpec: &DiscreteGenericResource{kind, n}}
	}
	const field = "TaskTemplate.Resources.Reservations.GenericResources"
	for name, list := range map[string][]GenericResource{
		"by name": {{NamedResourceSpec: &NamedGenericResource{"gpu", "A"}}}, "neither": {{}}, "nothing": {ask("gpu", 0)}, "less": {ask("gpu", -1)},
		"twice": {ask("gpu", 1), ask("gpu", 2)}, "one variable": {ask("gpu", 1), ask("Gpu", 1)}, "no kind": {ask("", 1)}, "odd kind": {ask("a b", 1)}, "too many": {ask("gpu", 1<<40)},
	} {
		s := validSpec()
		s.TaskTemplate.Resources = &ResourceRequirements{Reservations: &Resources{GenericResources: list}}
		t.Run(name, func(t *testing.T) { refused(t, field, s.Validate()) })
	}
	s := validSpec()
	s.TaskTemplate.Resources = &ResourceRequirements{Limits: &Resources{GenericResources: []GenericResource{ask("gpu", 1)}}}
	refused(t, "TaskTemplate.Resources.Limits.GenericResources", s.Validate())
}

func TestAskingForMoreAndLess(t *testing.T) {
	ask := func(kind string, n int64) GenericResource {
		return GenericResource{DiscreteResourceSpec: &DiscreteGenericResource{kind, n}}
	}
	s := validSpec()
	merge := func(want string, patch ServicePatch) {
		t.Helper()
		next, err := s.Merge(patch)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r := next.TaskTemplate.Resources; r != nil && r.Reservations != nil {
			got = GenericText(r.Reservations.GenericResources)
		}
		if got != want || next.Validate() != nil {
			t.Errorf("asks for %q, want %q: %v", got, want, next.Validate())
		}
		s = next
	}
	merge("gpu=1, ssd=2", ServicePatch{GenericResourceAdd: []GenericResource{ask("gpu", 1), ask("ssd", 2)}})
	merge("gpu=3, ssd=2", ServicePatch{GenericResourceAdd: []GenericResource{ask("gpu", 3)}})
	merge("gpu=3, ssd=2", ServicePatch{Reservations: &ResourcesPatch{MemoryBytes: new(int64(1 << 20))}})
	merge("ssd=2", ServicePatch{GenericResourceRemove: []string{"gpu", "none"}})
	merge("ssd=2", ServicePatch{Reservations: &ResourcesPatch{MemoryBytes: new(int64(0))}})
	merge("", ServicePatch{GenericResourceRemove: []string{"ssd"}})
	if r := s.TaskTemplate.Resources; r != nil && r.Reservations != nil {
		t.Errorf("what reserves nothing is %+v", r.Reservations)
	}
}

func TestWhatATaskReadsOfItsShare(t *testing.T) {
	given, err := ParseGenericResources([]string{"NVIDIA-GPU=U1", "ssd=3", "NVIDIA-GPU=U2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"DOCKER_RESOURCE_NVIDIA-GPU=U1,U2", "DOCKER_RESOURCE_SSD=3"}
	if env := GenericEnv(given); !slices.Equal(env, want) {
		t.Errorf("%q, want %q", env, want)
	}
	if GenericEnv(nil) != nil {
		t.Error("a task that was given nothing is told of something")
	}
}

func TestDescriptionsDifferByWhatABoardHas(t *testing.T) {
	a, b := NodeDescription{Hostname: "a"}, NodeDescription{Hostname: "a"}
	var err error
	if b.Resources.GenericResources, err = ParseGenericResources([]string{"gpu=A"}); err != nil || a.Equal(b) || !b.Equal(b) {
		t.Error("a change of the board's generic resources is no change")
	}
	a.Resources.GenericResources = []GenericResource{{DiscreteResourceSpec: &DiscreteGenericResource{"gpu", 1}}}
	if a.Equal(b) {
		t.Error("one by name is the same as an amount of one")
	}
}
