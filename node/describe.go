package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// describe is this board's account of itself, but for its runtime.
func describe(cfg Config) (api.NodeDescription, error) {
	memory, err := host.Memory()
	if err != nil {
		return api.NodeDescription{}, err
	}
	return api.NodeDescription{
		Hostname: cfg.Name,
		Platform: host.Platform(),
		Resources: api.Resources{
			NanoCPUs:    int64(host.Cores()) * 1e9,
			MemoryBytes: max(0, memory-cfg.ReserveMemory),
		},
		Engine: api.EngineDescription{EngineVersion: cfg.Version},
		BootID: cfg.BootID,
	}, nil
}

// ownAddrs are where this board may be reached: the one it was told to
// advertise, else those of its interfaces that are up, but for loopback, what
// reaches no further than a link, and our own bridges.
func ownAddrs(advertise string, port uint16) ([]netip.AddrPort, error) {
	if advertise != "" {
		addr, err := parseAddr(advertise, port)
		if err != nil {
			return nil, fmt.Errorf("advertise-addr: %w", err)
		}
		return []netip.AddrPort{addr}, nil
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var found []netip.AddrPort
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || strings.HasPrefix(i.Name, "edge") {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && !prefix.Addr().IsLinkLocalUnicast() {
				found = append(found, netip.AddrPortFrom(prefix.Addr().Unmap(), port))
			}
		}
	}
	slices.SortFunc(found, func(a, b netip.AddrPort) int {
		if a.Addr().Is4() != b.Addr().Is4() {
			if a.Addr().Is4() {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return slices.Compact(found), nil
}

// parseAddr reads host or host:port; a name is looked up.
func parseAddr(text string, port uint16) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(addr, port), nil
	}
	hostname, service, err := net.SplitHostPort(text)
	if err != nil {
		hostname, service = text, strconv.Itoa(int(port))
	}
	p, err := strconv.ParseUint(service, 10, 16)
	if err != nil || p == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q has no valid port: give host or host:port", text)
	}
	ips, err := net.LookupHost(hostname)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and no name that resolves: %w", text, err)
	}
	addr, err := netip.ParseAddr(ips[0])
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), nil
}

// prepareRunDir makes the folder for sockets, for root alone.
func prepareRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}
