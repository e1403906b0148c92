package main

import (
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestVolumeRm(t *testing.T) {
	f := newFleet()
	r := f.edgectl(t, "volume", "rm", "--force", "--node", "self", "data", "old")
	if r.code != 0 || r.out != "data\nold\n" {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	same(t, "requests", requests[*api.RemoveVolumeRequest](f), []*api.RemoveVolumeRequest{
		{Volume: "data", Node: string(f.board.NodeID), Force: true}, {Volume: "old", Node: string(f.board.NodeID), Force: true},
	})
	f.fail = func(method string) error {
		return api.Errorf(api.Conflict, "remove volume", "volume data is named by web")
	}
	if r := f.edgectl(t, "volume", "rm", "data"); r.code != 1 || r.out != "" || !strings.Contains(r.err, "named by web") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestVolumeInspectOfNone(t *testing.T) {
	r := newFleet().edgectl(t, "volume", "inspect", "old", "nope", "--format", "{{.Name}}@{{.NodeName}}")
	if r.code != 1 || r.out != "old@board2\n" || !strings.Contains(r.err, `no board holds a volume "nope"`) {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}
