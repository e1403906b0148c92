package mdns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// ownPrefix begins the names of the interfaces that this program makes for
// tasks: no board is behind them.
const ownPrefix = "edge"

const (
	// settle is how long a burst of interface events is gathered.
	settle = 50 * time.Millisecond
	// recheck is how often interfaces are read with no event, in case one was lost.
	recheck = 30 * time.Second
	// resubscribe is the wait before netlink is asked again after it failed.
	resubscribe = 5 * time.Second
)

// link is an interface that can multicast.
type link struct {
	index    int
	name     string
	prefixes []netip.Prefix // addresses with their subnets, ordered
	flags    net.Flags
}

// links lists the interfaces that a board may be behind, ordered by index.
func links() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []link
	for _, i := range all {
		const want = net.FlagUp | net.FlagMulticast
		if i.Flags&want != want || i.Flags&net.FlagLoopback != 0 || strings.HasPrefix(i.Name, ownPrefix) {
			continue
		}
		l := link{index: i.Index, name: i.Name, flags: i.Flags}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went between the two calls
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.prefixes = append(l.prefixes, p)
			}
		}
		if len(l.prefixes) == 0 {
			continue // nothing to be reached at; its first address is an event
		}
		slices.SortFunc(l.prefixes, netip.Prefix.Compare)
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b link) int { return a.index - b.index })
	return out, nil
}

func sameLinks(a, b []link) bool {
	return slices.EqualFunc(a, b, func(x, y link) bool {
		return x.index == y.index && x.name == y.name && slices.Equal(x.prefixes, y.prefixes)
	})
}

// interfaces is links in the standard library's form, for those who ask for it.
func interfaces(all []link) []net.Interface {
	out := make([]net.Interface, 0, len(all))
	for _, l := range all {
		out = append(out, net.Interface{Index: l.index, Name: l.name, Flags: l.flags})
	}
	return out
}

// watchLinks reports on wake, a 1-slot channel, whenever an interface or an
// address may have changed, until ctx ends.
func watchLinks(ctx context.Context, wake chan<- struct{}, log *slog.Logger) {
	for ctx.Err() == nil {
		if err := subscribe(ctx, wake); err != nil {
			// recheck goes on, so this is late rather than blind.
			log.Debug("interface events unavailable", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
			poke(wake)
		}
	}
}

// subscribe listens to the kernel until it errs or ctx ends.
func subscribe(ctx context.Context, wake chan<- struct{}) error {
	done := make(chan struct{})
	defer close(done)
	failed := make(chan error, 2)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	linkEvents := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribeWithOptions(linkEvents, done, netlink.LinkSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("subscribe to links: %w", err)
	}
	// The library sends without looking at done: whatever is still coming is
	// drained until it closes the channel.
	defer func() { go drain(linkEvents) }()
	addrEvents := make(chan netlink.AddrUpdate, 16)
	if err := netlink.AddrSubscribeWithOptions(addrEvents, done, netlink.AddrSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	defer func() { go drain(addrEvents) }()
	poke(wake) // whatever happened before the subscription stood
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("receive: %w", err)
		case _, ok := <-linkEvents:
			if !ok {
				return fmt.Errorf("link events ended")
			}
			poke(wake)
		case _, ok := <-addrEvents:
			if !ok {
				return fmt.Errorf("address events ended")
			}
			poke(wake)
		}
	}
}

func drain[T any](c <-chan T) {
	for range c {
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
