package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// kernelInterfaces implements Interfaces on the board's own.
type kernelInterfaces struct{ logger *slog.Logger }

// Addrs are those of interfaces that are up, IPv4 first, but for loopback,
// what reaches no further than a link, and our own bridges.
func (kernelInterfaces) Addrs() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var found []netip.Addr
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
				found = append(found, prefix.Addr().Unmap())
			}
		}
	}
	slices.SortFunc(found, func(a, b netip.Addr) int {
		if a.Is4() != b.Is4() {
			if a.Is4() {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return slices.Compact(found), nil
}

// resubscribe is the pause before the kernel is asked again to tell of changes.
const resubscribe = time.Second

// Watch implements Interfaces. The kernel ends a subscription that has missed
// something, as when many tasks' links come up at once: then anything may have
// changed, and it is asked anew.
func (k kernelInterfaces) Watch(ctx context.Context, changed func()) error {
	for {
		if err := k.follow(ctx, changed); err != nil {
			k.logger.Debug("address watch ended, beginning again", "err", err)
		}
		if !sleep(ctx, resubscribe) {
			return nil
		}
		changed()
	}
}

func (k kernelInterfaces) follow(ctx context.Context, changed func()) error {
	updates := make(chan netlink.AddrUpdate, 16)
	var last error
	if err := netlink.AddrSubscribeWithOptions(updates, ctx.Done(), netlink.AddrSubscribeOptions{
		ErrorCallback: func(err error) { last = err },
	}); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	for range updates { // closed when ctx ends or the subscription does
		changed()
	}
	return last
}

// addrs are where this board may be reached now: where it was told to be, else
// at all its addresses.
func (b *Board) addrs() []netip.AddrPort {
	port := b.endpoint.Port()
	if told := *b.advertised.Load(); told != "" {
		addr, err := parseAddr(told, port)
		if err == nil {
			b.resolved.Store(&addr)
		} else if last := b.resolved.Load(); last != nil {
			return []netip.AddrPort{*last} // where it was until the resolver went away
		} else {
			b.cfg.Logger.Warn("advertised address unknown", "err", err)
			return nil
		}
		return []netip.AddrPort{addr}
	}
	found, err := b.parts.Interfaces.Addrs()
	if err != nil {
		b.cfg.Logger.Warn("own addresses unknown", "err", err)
	}
	out := make([]netip.AddrPort, 0, len(found))
	for _, addr := range found {
		out = append(out, netip.AddrPortFrom(addr, port))
	}
	return out
}

// watchAddrs tells the agent when an interface gains or loses an address, so
// that the leader, and through it every member, hears of it.
func (b *Board) watchAddrs(ctx context.Context) error {
	return b.parts.Interfaces.Watch(ctx, b.wake)
}

// lookupTimeout keeps a resolver that is out of reach from holding up a node's
// heartbeats until its leader takes it for dead.
const lookupTimeout = time.Second

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
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, hostname)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and no name that resolves: %w", text, err)
	}
	addr, err := netip.ParseAddr(ips[0])
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), nil
}

func firstAddr(addrs []netip.AddrPort) string {
	if len(addrs) == 0 {
		return ""
	}
	return addrs[0].String()
}
