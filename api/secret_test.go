package api

import (
	"slices"
	"testing"
)

func TestWhereFilesAppear(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{SecretReference{SecretName: "pw"}.Path(), "/run/secrets/pw"},
		{SecretReference{SecretName: "pw", File: FileTarget{Name: "db/pw"}}.Path(), "/run/secrets/db/pw"},
		{SecretReference{SecretName: "pw", File: FileTarget{Name: "/etc/pw"}}.Path(), "/etc/pw"},
		{ConfigReference{ConfigName: "conf"}.Path(), "/conf"},
		{ConfigReference{ConfigName: "conf", File: FileTarget{Name: "/etc/../x"}}.Path(), "/x"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestFilesDontCollide(t *testing.T) {
	count := uint64(1)
	spec := func(change func(*ContainerSpec)) ServiceSpec {
		s := ServiceSpec{Annotations: Annotations{Name: "web"}, Mode: ServiceMode{Replicated: &ReplicatedService{Replicas: &count}}}
		s.TaskTemplate.ContainerSpec.Image = "web:1"
		change(&s.TaskTemplate.ContainerSpec)
		return s.Defaults()
	}
	mode := uint32(0o1000)
	for name, bad := range map[string]func(*ContainerSpec){
		"two at one path": func(c *ContainerSpec) {
			c.Secrets = []SecretReference{{SecretName: "a"}, {SecretName: "b", File: FileTarget{Name: "a"}}}
		},
		"a mount's place": func(c *ContainerSpec) {
			c.Mounts = []Mount{{Type: MountTmpfs, Target: "/conf"}}
			c.Configs = []ConfigReference{{ConfigName: "conf"}}
		},
		"a folder": func(c *ContainerSpec) {
			c.Secrets = []SecretReference{{SecretName: "a", File: FileTarget{Name: "/x/"}}}
		},
		"a bad mode": func(c *ContainerSpec) {
			c.Secrets = []SecretReference{{SecretName: "a", File: FileTarget{Mode: &mode}}}
		},
		"no name": func(c *ContainerSpec) { c.Secrets = []SecretReference{{}} },
	} {
		if err := spec(bad).Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := spec(func(c *ContainerSpec) { c.Secrets = []SecretReference{{SecretName: "a"}} }).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPatchOfSecrets(t *testing.T) {
	before := ContainerSpec{Secrets: []SecretReference{{SecretID: "1", SecretName: "a"}, {SecretID: "2", SecretName: "b"}}}
	after := before
	mergeData(&after, ServicePatch{SecretRemove: []string{"a"}, SecretAdd: []SecretReference{{SecretName: "c"}, {SecretName: "b", File: FileTarget{Name: "x"}}}})
	names := func(c ContainerSpec) (all []string) {
		for _, r := range c.Secrets {
			all = append(all, r.SecretName+":"+r.File.Name)
		}
		return all
	}
	if got := names(after); !slices.Equal(got, []string{"b:x", "c:"}) {
		t.Errorf("%q", got)
	}
	if got := names(before); !slices.Equal(got, []string{"a:", "b:"}) {
		t.Errorf("the spec of before became %q", got)
	}
}
