package flagvalue

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Network reads "NAME" or "name=NAME[,alias=…]…", as Docker does.
func Network(s string) (n api.NetworkAttachment, err error) {
	if !strings.ContainsAny(s, "=,") {
		n.Target = s
	} else {
		pairs, err := fields(s)
		if err != nil {
			return n, err
		}
		for _, p := range pairs {
			switch p.Key {
			case "name":
				n.Target = p.Value
			case "alias":
				n.Aliases = append(n.Aliases, p.Value)
			default:
				return n, fmt.Errorf("%s=%s: it is not known here: use name and alias", p.Key, p.Value)
			}
		}
	}
	if n.Target == "" {
		return n, errors.New("it names no network: give the name of one that edgectl network ls shows, or host for the board's own")
	}
	return n, nil
}

// Subnet reads a range of addresses such as 10.9.0.0/16.
func Subnet(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("it is not a subnet: write one such as 10.9.0.0/16")
	}
	return p, nil
}
