package api

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetworkSpecs(t *testing.T) {
	subnet := func(s string) NetworkSpec {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		return NetworkSpec{Annotations: Annotations{Name: "back"}, Driver: DriverVXLAN, Subnet: p}
	}
	for what, c := range map[string]struct {
		spec NetworkSpec
		word string // of the error; "" is none
	}{
		"picked subnet":  {NetworkSpec{Annotations: Annotations{Name: "back"}, Driver: DriverVXLAN}, ""},
		"own subnet":     {subnet("10.9.0.0/16"), ""},
		"smallest":       {subnet("192.168.7.64/26"), ""},
		"too small":      {subnet("192.168.7.64/27"), "between /8 and /26"},
		"bits behind":    {subnet("10.9.0.1/16"), "10.9.0.0/16 is one"},
		"IPv6":           {subnet("fd00::/64"), "not of IPv4"},
		"loopback":       {subnet("127.0.0.0/16"), "no range for hosts"},
		"multicast":      {subnet("224.0.0.0/16"), "no range for hosts"},
		"no name":        {NetworkSpec{Driver: DriverVXLAN}, "name is needed"},
		"reserved name":  {NetworkSpec{Annotations: Annotations{Name: "bridge"}, Driver: DriverVXLAN}, "reserved"},
		"name of ports":  {NetworkSpec{Annotations: Annotations{Name: IngressName}, Driver: DriverVXLAN}, "--ingress"},
		"ingress":        {NetworkSpec{Annotations: Annotations{Name: IngressName}, Driver: DriverVXLAN, Ingress: true}, ""},
		"no way in":      {NetworkSpec{Annotations: Annotations{Name: "in"}, Driver: DriverVXLAN, Ingress: true, Internal: true}, "Internal"},
		"no DNS label":   {NetworkSpec{Annotations: Annotations{Name: "back_end"}, Driver: DriverVXLAN}, "not a DNS label"},
		"unknown driver": {NetworkSpec{Annotations: Annotations{Name: "back"}, Driver: "overlay"}, `"overlay" is neither mesh`},
		"default driver": {NetworkSpec{Annotations: Annotations{Name: "back"}}.Defaults(), ""},
	} {
		err := c.spec.Validate()
		if c.word == "" && err != nil || c.word != "" && (KindOf(err) != Invalid || !strings.Contains(err.Error(), c.word)) {
			t.Errorf("%s: got %v, want %q", what, err, c.word)
		}
	}
}

func TestGatewayIsTheFirstAddressOfTheNodesFirstBlock(t *testing.T) {
	n := NetworkInfo{Blocks: []BlockOwner{
		{Prefix: netip.MustParsePrefix("10.9.0.0/27")}, {Prefix: netip.MustParsePrefix("10.9.0.64/27"), Node: "a"},
		{Prefix: netip.MustParsePrefix("10.9.0.32/27"), Node: "a"},
	}}
	if got := n.Gateway("a"); got != netip.MustParseAddr("10.9.0.64") {
		t.Errorf("a's gateway is %v", got)
	}
	for _, stranger := range []NodeID{"", "b"} {
		if got := n.Gateway(stranger); got.IsValid() {
			t.Errorf("%q has the gateway %v", stranger, got)
		}
	}
}
