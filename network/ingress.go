package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// The table of ports that are published on every board. What changes with tasks
// is one chain for each port.
//
//	prerouting, output: to a local address, by protocol and port -> its chain
//	port-…:      to the next of this board's tasks in turn, from whom it may be;
//	             without one, and unless another board handed it on already, to
//	             the next board that has some
//	postrouting: handed on to another board -> from this board's address in the
//	             ingress network, so that the answer comes back by this board
//	clamp:       segments no larger than the way to other boards carries
const (
	ingressTable = "edgeswarm-ingress"
	portMap      = "ports"
	portPrefix   = "port-"
	clampChain   = "clamp"
	// ingressFrame is how many chains there are beside those of ports.
	ingressFrame = 4
)

func ingressNFT() *nftables.Table {
	return &nftables.Table{Name: ingressTable, Family: nftables.TableFamilyIPv4}
}

// portBranches are the chains of ports, by protocol and number.
func portBranches() branches {
	return branches{table: ingressNFT(), set: portSet(), prefix: portPrefix}
}

func portSet() *nftables.Set {
	return &nftables.Set{
		Table: ingressNFT(), Name: portMap, IsMap: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService), DataType: nftables.TypeVerdict,
	}
}

// ingress is what the table is to hold.
type ingress struct {
	gateway netip.Addr // of this board in the ingress network; invalid without one
	subnet  netip.Prefix
	mtu     int // of the way to other boards
	ports   map[string]branch
	// publications are what the branches were made of, by name.
	publications map[string]publication
}

// publication is a port of every board and where it leads.
type publication struct {
	port    api.PortConfig
	gateway netip.Addr
	// here are the board's own tasks, there the boards that have others, each as
	// often as it has tasks.
	here, there []netip.Addr
}

func (p publication) mark() string { return markOf(p.port, p.gateway, p.here, p.there) }

func (p publication) key() []byte {
	key := make([]byte, 8) // each part fills 32 bits
	key[0] = protocolNumber(p.port.Protocol)
	copy(key[4:], binaryutil.BigEndian.PutUint16(p.port.PublishedPort))
	return key
}

func protocolNumber(p api.Protocol) byte {
	if p == api.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// ingressOf finds what the board publishes. At tells the address of one of its
// own tasks, false while it has none.
func (l *Local) ingressOf(w weaving, woven []*api.NetworkInfo, at func(api.TaskID) (netip.Addr, bool)) ingress {
	f := w.fabric
	i := ingress{ports: map[string]branch{}, publications: map[string]publication{}}
	n := slices.IndexFunc(woven, func(n *api.NetworkInfo) bool { return n.Ingress })
	if n < 0 || !woven[n].Gateway(f.Node).IsValid() {
		return i
	}
	i.gateway, i.subnet, i.mtu = woven[n].Gateway(f.Node), woven[n].Subnet, l.driver(woven[n]).mtu(w)
	for _, e := range f.Endpoints {
		for _, port := range e.Ports {
			p := publication{port: port, gateway: i.gateway}
			for _, b := range e.Backends {
				if b.Node != f.Node {
					if gw := woven[n].Gateway(b.Node); gw.IsValid() {
						p.there = append(p.there, gw)
					}
				} else if addr, ok := at(b.Task); ok {
					p.here = append(p.here, addr)
				}
			}
			i.publications[portBranches().name(p.key())] = p
		}
	}
	for name, p := range i.publications {
		i.ports[name] = branch{key: p.key(), mark: p.mark(), rules: p.rules}
	}
	return i
}

// mark names the frame, all but the ports; "" is none.
func (i ingress) mark() string {
	if !i.gateway.IsValid() {
		return ""
	}
	return markOf(i.gateway, i.subnet, i.mtu)
}

// ensure makes the kernel publish what is wanted, in one transaction that touches
// what has changed. A port that a program of the board listens on is left to it,
// and named in the error.
func (i ingress) ensure(frame string, have map[string]string, in *change) error {
	c, err := in.transaction()
	if err != nil {
		return err
	}
	var busy error
	for name, p := range i.publications {
		if _, published := have[name]; published {
			continue
		}
		if err := portFree(p.port); err != nil {
			busy = errors.Join(busy, err)
			delete(i.ports, name)
		}
	}
	reframe := frame != i.mark()
	if reframe {
		t := ingressNFT()
		c.AddTable(t) // so that there is one to delete
		c.DelTable(t)
		have = nil
		if i.gateway.IsValid() {
			if err := i.build(c); err != nil {
				return fmt.Errorf("make rules of published ports: %w", err)
			}
		}
	}
	if changed := portBranches().change(c, i.ports, have); !changed && !reframe {
		return busy
	}
	if err := in.commit(c); err != nil {
		return errors.Join(busy, fmt.Errorf("make rules of published ports: %w", err))
	}
	return errors.Join(busy, i.forgetFlows(have))
}

// marks are those of all ports, by chain.
func (i ingress) marks() map[string]string {
	marks := make(map[string]string, len(i.ports))
	for name, b := range i.ports {
		marks[name] = b.mark
	}
	return marks
}

// build makes the frame.
func (i ingress) build(c *nftables.Conn) error {
	t := c.AddTable(ingressNFT())
	ports := portSet()
	if err := c.AddSet(ports, nil); err != nil {
		return err
	}
	mark := []byte(i.mark())
	add := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, rules ...[]expr.Any) {
		chain := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: kind, Hooknum: hook, Priority: priority})
		for _, exprs := range rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, UserData: mark, Exprs: exprs})
		}
	}
	const first, second = 8, 9 // 32-bit registers, for a key of two
	byPort := append(toLocalAddress(),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first},
		&expr.Payload{DestRegister: second, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: first, DestRegister: 0, IsDestRegSet: true, SetName: ports.Name, SetID: ports.ID})
	add(preroutingCh, nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, byPort)
	add(outputChain, nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, byPort)
	add(postroutingCh, nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		slices.Concat(to(i.subnet), notFrom(i.subnet), destinationWasChanged(), []expr.Any{
			&expr.Immediate{Register: 1, Data: i.gateway.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		}))
	add(clampChain, nftables.ChainTypeFilter, nftables.ChainHookPostrouting, nftables.ChainPriorityMangle,
		slices.Concat(to(i.subnet), opensTCP(), segmentsUpTo(i.mtu)))
	return nil
}

// rules of the chain of one port.
func (p publication) rules(c *nftables.Conn) (rules [][]expr.Any) {
	target := binaryutil.BigEndian.PutUint16(p.port.TargetPort)
	fromBoard := to(netip.PrefixFrom(p.gateway, 32)) // only boards send there
	var limit []expr.Any
	if p.port.Address.IsValid() {
		limit = to(p.port.Address)
	}
	if len(p.here) > 0 {
		if limit != nil {
			rules = append(rules, append(fromBoard, inTurn(c, ingressNFT(), p.here, target)...))
		}
		return append(rules, append(limit, inTurn(c, ingressNFT(), p.here, target)...))
	}
	rules = append(rules, append(fromBoard, &expr.Verdict{Kind: expr.VerdictReturn}))
	if len(p.there) > 0 {
		rules = append(rules, append(limit, inTurn(c, ingressNFT(), p.there, nil)...))
	}
	return rules
}

// notFrom matches what comes from elsewhere.
func notFrom(p netip.Prefix) []expr.Any {
	exprs := from(p)
	exprs[len(exprs)-1].(*expr.Cmp).Op = expr.CmpOpNeq
	return exprs
}

// opensTCP matches the two segments that open a TCP connection.
func opensTCP() []expr.Any {
	const syn, rst = 0x02, 0x04
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{syn}},
	}
}

// segmentsUpTo lowers the size of segments that a side announces to what packets
// of mtu hold: the kernel never raises it.
func segmentsUpTo(mtu int) []expr.Any {
	const headers = 40          // of IPv4 and TCP
	const option, offset = 2, 2 // RFC 9293, 3.2: maximum segment size
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(mtu - headers))},
		&expr.Exthdr{SourceRegister: 1, Op: expr.ExthdrOpTcpopt, Type: option, Offset: offset, Len: 2},
	}
}

// forgetFlows forgets datagrams that were led to tasks that are gone.
func (i ingress) forgetFlows(have map[string]string) error {
	var changed []led
	for name, p := range i.publications {
		if mark, known := have[name]; p.port.Protocol == api.UDP && known && mark != p.mark() {
			changed = append(changed, led{port: p.port.PublishedPort, to: slices.Concat(p.here, p.there)})
		}
	}
	return forgetFlows(changed)
}

// openWay lets a board's own programs reach what is handed on from 127.0.0.1, by
// the links that lead to other boards.
func openWay(peers []netip.Addr) error {
	links := map[int]bool{}
	for _, gw := range peers {
		routes, err := netlink.RouteGet(gw.AsSlice())
		if err != nil || len(routes) == 0 {
			continue // it is not reached, which is said elsewhere
		}
		links[routes[0].LinkIndex] = true
	}
	for index := range links {
		link, err := netlink.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("find link of published ports: %w", err)
		}
		if err := setSysctl("/proc/sys/net/ipv4/conf/"+link.Attrs().Name+"/route_localnet", "1"); err != nil {
			return err
		}
	}
	return nil
}

// gatewaysOf are the other boards' addresses in the ingress network.
func gatewaysOf(networks []*api.NetworkInfo, self api.NodeID) (gateways []netip.Addr) {
	for _, n := range networks {
		if !n.Ingress {
			continue
		}
		for _, b := range n.Blocks {
			if b.Node != self {
				gateways = append(gateways, b.Prefix.Addr())
			}
		}
	}
	return gateways
}
