package flagvalue

import (
	"reflect"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestSecret(t *testing.T) {
	mode := uint32(0o440)
	for in, want := range map[string]api.SecretReference{
		"pw":                  {SecretName: "pw"},
		"source=pw":           {SecretName: "pw"},
		"src=pw,target=db/pw": {SecretName: "pw", File: api.FileTarget{Name: "db/pw"}},
		"source=pw,mode=0440,uid=1000,gid=50,target=/etc/pw": {SecretName: "pw", File: api.FileTarget{Name: "/etc/pw", UID: 1000, GID: 50, Mode: &mode}},
	} {
		if got, err := Secret(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "target=x", "source=pw,mode=999", "source=pw,mode=1777", "source=pw,uid=-1", "source=pw,colour=red", "source=pw,target"} {
		if got, err := Secret(in); err == nil {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
}
