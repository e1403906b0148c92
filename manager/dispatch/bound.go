package dispatch

import (
	"net/netip"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Bounds on what one node's word may add to the state, which every manager
// keeps: in bytes, and in addresses.
const (
	maxDescription = 32 << 10
	maxText        = 2 << 10
	maxAddrs       = 64
)

// described is a description as it may be kept: a long error is cut. Nil if it
// is too large all the same, which no board's is.
func described(d api.NodeDescription) *api.NodeDescription {
	d.Engine.RuntimeError, d.Trouble = clip(d.Engine.RuntimeError), clip(d.Trouble)
	if raw, err := api.Encode(d); err != nil || len(raw) > maxDescription {
		return nil
	}
	return &d
}

// told is a status as it may be kept.
func told(s api.TaskStatus) api.TaskStatus {
	s.Message, s.Err, s.ContainerID = clip(s.Message), clip(s.Err), clip(s.ContainerID)
	return s
}

func reachable(addrs []netip.AddrPort) []netip.AddrPort { return addrs[:min(len(addrs), maxAddrs)] }

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
