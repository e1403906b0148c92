package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// echoes are sent to find the least latency, each waited for so long.
	echoes     = 3
	echoWithin = 500 * time.Millisecond
	// checksAtOnce bounds how many ways are tried at a time.
	checksAtOnce = 16
)

// Check tries every way of the networks that are named, or of all, to other boards
// and to tasks, and tells what of them is not as it should be on this board. It
// mends nothing: that is Run's.
func (l *Local) Check(ctx context.Context, of []string) api.NetworkCheck {
	f := l.fabric.Load()
	if f == nil {
		return api.NetworkCheck{Trouble: []string{"the board has not heard from a leader since it started"}}
	}
	check := api.NetworkCheck{NodeID: f.Node, Trouble: l.ails()}
	w := newWeaving(f)
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(checksAtOnce)
	for _, n := range f.Networks {
		if len(of) > 0 && !slices.Contains(of, n.Name) && !slices.Contains(of, string(n.ID)) {
			continue
		}
		if !n.Gateway(f.Node).IsValid() {
			continue // nothing of it is here
		}
		for _, t := range l.targets(w, n) {
			g.Go(func() error {
				way := t.try(ctx, n.Gateway(f.Node), l.driver(n).mtu(w))
				mu.Lock()
				defer mu.Unlock()
				check.Ways = append(check.Ways, way)
				return nil
			})
		}
	}
	_ = g.Wait() // none errs: what is broken is in its way
	slices.SortFunc(check.Ways, func(a, b api.NetworkWay) int {
		return strings.Compare(a.Network+"\x00"+a.To+a.Addr.String(), b.Network+"\x00"+b.To+b.Addr.String())
	})
	return check
}

// ails is what this board knows to be wrong with its own networks.
func (l *Local) ails() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trouble != "" {
		list = strings.Split(l.trouble, "\n")
	}
	w := newWeaving(l.fabric.Load())
	woven, _ := l.sound(w.fabric, w.fabric.Networks) // what is not sound is in the trouble
	have, err := readRules()
	if err != nil {
		return append(list, err.Error())
	}
	for _, gone := range l.wantedRules(w, woven).missing(have) {
		list = append(list, gone+" are missing or were changed by another program: they are put right within seconds; find out which program does it")
	}
	return list
}

// missing names what of the rules is not in place.
func (r rules) missing(have ruleState) (list []string) {
	if have.isolation != r.isolation.mark {
		list = append(list, "the rules that keep networks apart")
	}
	services, _ := r.balancing.marks()
	if have.frame != r.balancing.mark() || !maps.Equal(have.services, services) && len(services)+len(have.services) > 0 {
		list = append(list, "the rules that balance services")
	}
	ports := r.ingress.marks()
	if have.published != r.ingress.mark() || !maps.Equal(have.ports, ports) && len(ports)+len(have.ports) > 0 {
		list = append(list, "the rules of published ports")
	}
	return list
}

// target is an end of a way.
type target struct {
	network string
	name    string
	addr    netip.Addr
	board   string     // that it is on
	gateway netip.Addr // of that board in the network
	at      netip.Addr // of the board, on the LAN; invalid of this one, and if none is known
	self    bool
}

// targets are what is to be reached in a network: the other boards of it, and its
// tasks.
func (l *Local) targets(w weaving, n *api.NetworkInfo) (list []target) {
	names := map[api.NodeID]string{}
	for _, p := range w.fabric.Peers {
		names[p.ID] = p.Name
	}
	end := func(node api.NodeID, name string, addr netip.Addr) {
		at, _ := w.reached(node)
		list = append(list, target{network: n.Name, name: name, addr: addr, board: names[node], gateway: n.Gateway(node), at: at, self: node == w.self})
	}
	seen := map[api.NodeID]bool{w.self: true, "": true}
	for _, b := range n.Blocks {
		if !seen[b.Node] {
			seen[b.Node] = true
			end(b.Node, names[b.Node], n.Gateway(b.Node))
		}
	}
	for _, e := range w.fabric.Endpoints {
		for _, b := range e.Backends {
			if e.Network == n.ID && b.Addr.IsValid() {
				end(b.Node, e.Name+"/"+api.ShortID(b.Task), b.Addr)
			}
		}
	}
	return list
}

// try tries the way, with small packets and with one of the size that the network
// is to carry.
func (t target) try(ctx context.Context, from netip.Addr, mtu int) api.NetworkWay {
	way := api.NetworkWay{Network: t.network, To: t.name, Addr: t.addr}
	for range echoes {
		took, err := echo(ctx, from, t.addr, 0)
		if err == nil && (way.Latency == 0 || took < way.Latency) {
			way.Latency = took
		}
	}
	if way.Latency == 0 {
		way.Err = t.why(ctx)
		return way
	}
	if _, err := echo(ctx, from, t.addr, mtu); err != nil {
		way.Err = fmt.Sprintf("packets of %d bytes, which the network is to carry, do not arrive, and small ones do: a link between the boards carries less than this board's own; give it the same MTU (%v)", mtu, err)
		return way
	}
	way.MTU = mtu
	return way
}

// why tells which part of a way is broken.
func (t target) why(ctx context.Context) string {
	routes, err := netlink.RouteGet(t.addr.AsSlice())
	link := ""
	if err == nil && len(routes) > 0 {
		if l, err := netlink.LinkByIndex(routes[0].LinkIndex); err == nil {
			link = l.Attrs().Name
		}
	}
	switch {
	case !strings.HasPrefix(link, "edge"):
		return "this board has no way to it in the network: " + t.lost("the link or the route is missing")
	case t.self:
		return "a task of this board does not answer at its address: its link is down, or it drops ICMP"
	case !t.at.IsValid():
		return fmt.Sprintf("no address of board %s is known that this board has a route to", t.board)
	}
	if !answers(ctx, t.at) {
		return fmt.Sprintf("board %s does not answer at %s either: it is off, or the LAN between the two boards is cut", t.board, t.at)
	}
	if t.addr != t.gateway && t.gateway.IsValid() {
		if answers(ctx, t.gateway) {
			return fmt.Sprintf("board %s answers in the network, and its task does not: the task's link is down, or it drops ICMP", t.board)
		}
	}
	return fmt.Sprintf("board %s answers at %s, but not in the network: a firewall between them drops the network's packets, or its own end is not whole; see what it finds itself", t.board, t.at)
}

// answers tries an address a few times.
func answers(ctx context.Context, addr netip.Addr) bool {
	for range echoes {
		if _, err := echo(ctx, netip.Addr{}, addr, 0); err == nil {
			return true
		}
	}
	return false
}

func (t target) lost(what string) string {
	return what + "; it is made again within seconds, unless the board says why not"
}

// echoSeq numbers echoes, so that each knows its answer.
var echoSeq atomic.Uint32

// echo asks an address for an ICMP echo, in one packet of a size, 0 for a small
// one, that is not cut in pieces on the way.
func echo(ctx context.Context, from, to netip.Addr, size int) (took time.Duration, err error) {
	const headers = 28 // IPv4's and ICMP's
	source := "0.0.0.0"
	if from.IsValid() {
		source = from.String()
	}
	conn, err := net.ListenIP("ip4:icmp", &net.IPAddr{IP: net.ParseIP(source)})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var whole error
	if err := raw.Control(func(fd uintptr) {
		whole = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}); err != nil || whole != nil {
		return 0, errors.Join(err, whole)
	}
	asked := icmp.Echo{ID: os.Getpid() & 0xffff, Seq: int(echoSeq.Add(1) & 0xffff), Data: make([]byte, max(size-headers, 8))}
	packet, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &asked}).Marshal(nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	deadline := began.Add(echoWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if _, err := conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return 0, err
	}
	buf := make([]byte, len(packet)+headers)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return 0, fmt.Errorf("no answer within %v", echoWithin)
		}
		answer, err := icmp.ParseMessage(unix.IPPROTO_ICMP, buf[:n])
		if err != nil || answer.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if reply, ok := answer.Body.(*icmp.Echo); ok && reply.ID == asked.ID && reply.Seq == asked.Seq && len(reply.Data) == len(asked.Data) {
			return time.Since(began), nil
		}
	}
}
