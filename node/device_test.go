package node

import (
	"reflect"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

func of(class string, paths ...string) api.BoardDevices {
	return api.BoardDevices{Class: class, Paths: paths}
}

func TestADeviceIsMissingOnlyAtTheSecondLook(t *testing.T) {
	camera, bus := of("camera", "/dev/video0"), of("i2c", "/dev/i2c-1")
	both := []api.BoardDevices{camera, bus}
	for _, c := range []struct {
		name                         string
		reported, before, seen, want []api.BoardDevices
	}{
		{"nothing changes", both, both, both, both},
		{"plugged in", []api.BoardDevices{bus}, []api.BoardDevices{bus}, both, both},
		{"gone for the first time", both, both, []api.BoardDevices{bus}, both},
		{"gone at the first look", both, nil, []api.BoardDevices{bus}, both},
		{"gone for good", both, []api.BoardDevices{bus}, []api.BoardDevices{bus}, []api.BoardDevices{bus}},
		{"one goes as another comes", []api.BoardDevices{of("serial", "/dev/ttyUSB1")}, []api.BoardDevices{of("serial", "/dev/ttyUSB1")},
			[]api.BoardDevices{of("serial", "/dev/ttyUSB0")}, []api.BoardDevices{of("serial", "/dev/ttyUSB0", "/dev/ttyUSB1")}},
	} {
		if got := settle(c.reported, c.before, c.seen); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: reports %v, want %v", c.name, got, c.want)
		}
	}
}
