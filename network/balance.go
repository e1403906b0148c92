package network

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
)

// The table of services. What changes with tasks is one chain for each service
// and network; the rest is made anew when which networks there are changes.
//
//	prerouting:  to a service's address -> its chain
//	service-…:   to the next of its tasks in turn
//	postrouting: from a task to itself, by a service -> from the board's address,
//	             so that the answer comes back by the board
const (
	serviceTable  = "edgeswarm-services"
	serviceMap    = "services"
	servicePrefix = "service-"
	selfPrefix    = "self-"
)

func servicesTable() *nftables.Table {
	return &nftables.Table{Name: serviceTable, Family: nftables.TableFamilyIPv4}
}

// balancing is what the table is to hold.
type balancing struct {
	services map[string]branch // by chain
	served   map[string]served // what these were made of
	selves   []self
}

// served is a service's address and the tasks behind it.
type served struct {
	vip   netip.Addr
	tasks []netip.Addr
}

// keeps reports whether all of the tasks that were led to still are; false if
// none are known.
func (s served) keeps(before served) bool {
	return len(before.tasks) > 0 && !slices.ContainsFunc(before.tasks, func(t netip.Addr) bool { return !slices.Contains(s.tasks, t) })
}

// self is a network's tasks of this board.
type self struct {
	set     string
	gateway netip.Addr
	tasks   []netip.Addr
}

func (s served) mark() string {
	raw := s.vip.AsSlice()
	for _, t := range s.tasks {
		raw = append(raw, t.AsSlice()...)
	}
	return markOfBytes(raw)
}

// mark names the frame, all but the services; "" is none.
func (b balancing) mark() string {
	if len(b.selves) == 0 {
		return ""
	}
	var frame []any
	for _, s := range b.selves {
		frame = append(frame, s.set, s.gateway)
	}
	return markOf(frame...)
}

func markOf(what ...any) string { return markOfBytes(fmt.Append(nil, what...)) }

func markOfBytes(what []byte) string {
	sum := sha256.Sum256(what)
	return hex.EncodeToString(sum[:8])
}

func balancingOf(f *agent.Fabric, networks []*api.NetworkInfo) balancing {
	b := balancing{services: map[string]branch{}, served: map[string]served{}}
	all := serviceBranches()
	for _, e := range f.Endpoints {
		if !e.VirtualIP.Is4() {
			continue
		}
		s := served{vip: e.VirtualIP}
		for _, t := range e.Backends {
			s.tasks = append(s.tasks, t.Addr)
		}
		name := all.name(e.VirtualIP.AsSlice())
		b.services[name], b.served[name] = s.branch(), s
	}
	for _, n := range networks {
		s := self{set: fmt.Sprintf("%s%06x", selfPrefix, n.VNI), gateway: n.Gateway(f.Node)}
		if !s.gateway.IsValid() || n.Ingress {
			continue
		}
		for _, t := range f.Tasks {
			for _, at := range t.Addresses {
				if at.Network == n.ID {
					s.tasks = append(s.tasks, at.Addr)
				}
			}
		}
		b.selves = append(b.selves, s)
	}
	slices.SortFunc(b.selves, func(a, b self) int { return cmp.Compare(a.set, b.set) })
	return b
}

// ensure makes the kernel balance as is wanted, in one transaction that touches
// what has changed.
func (b balancing) ensure(is ruleState, in *change) error {
	have, selves := is.services, is.selves
	if len(b.selves) == 0 {
		b.services = nil
	}
	c, err := in.transaction()
	if err != nil {
		return err
	}
	reframe := is.frame != b.mark()
	if reframe {
		t := servicesTable()
		c.AddTable(t) // so that there is one to delete
		c.DelTable(t)
		have, selves = nil, nil
		if len(b.selves) > 0 {
			if err := b.build(c); err != nil {
				return fmt.Errorf("make rules of services: %w", err)
			}
		}
	}
	services, own := serviceBranches().change(c, b.services, have), b.changeSelves(c, selves)
	if !services && !own && !reframe {
		return nil
	}
	if err := in.commit(c); err != nil {
		return fmt.Errorf("make rules of services: %w", err)
	}
	var changed []led
	for name, s := range b.served {
		if mark, known := have[name]; known && mark != s.mark() && !s.keeps(is.served[name]) {
			changed = append(changed, led{addr: s.vip, to: s.tasks})
		}
	}
	return forgetFlows(changed)
}

// marks are those of all services, by chain, and of each network's own tasks, by set.
func (b balancing) marks() (services, selves map[string]string) {
	if len(b.selves) == 0 {
		return nil, nil
	}
	services, selves = make(map[string]string, len(b.services)), make(map[string]string, len(b.selves))
	for name, s := range b.services {
		services[name] = s.mark
	}
	for _, s := range b.selves {
		selves[s.set] = markOf(s.tasks)
	}
	return services, selves
}

// serviceBranches are the chains of services, by address.
func serviceBranches() branches {
	return branches{table: servicesTable(), set: serviceSet(), prefix: servicePrefix}
}

// branch is a service's chain.
func (s served) branch() branch {
	return branch{key: s.vip.AsSlice(), mark: s.mark(), rules: func(c *nftables.Conn) [][]expr.Any {
		return [][]expr.Any{spread(c, servicesTable(), s.tasks)}
	}}
}

// build makes the frame.
func (b balancing) build(c *nftables.Conn) error {
	t := c.AddTable(servicesTable())
	pre := c.AddChain(&nftables.Chain{
		Name: preroutingCh, Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATDest - 5),
	})
	post := c.AddChain(&nftables.Chain{
		Name: postroutingCh, Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource - 5),
	})
	services := serviceSet()
	if err := c.AddSet(services, nil); err != nil {
		return err
	}
	mark := []byte(b.mark())
	c.AddRule(&nftables.Rule{Table: t, Chain: pre, UserData: mark, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: services.Name, SetID: services.ID},
	}})
	for _, s := range b.selves {
		set := s.nftSet()
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
		const first, second = 8, 9 // 32-bit registers, for a key of two
		c.AddRule(&nftables.Rule{Table: t, Chain: post, UserData: mark, Exprs: []expr.Any{
			&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
			&expr.Payload{DestRegister: second, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
			&expr.Lookup{SourceRegister: first, SetName: set.Name, SetID: set.ID},
			&expr.Immediate{Register: 1, Data: s.gateway.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
		}})
	}
	return nil
}

func (s self) nftSet() *nftables.Set {
	return &nftables.Set{Table: servicesTable(), Name: s.set, KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)}
}

// changeSelves rewrites the sets of this board's tasks that differ, and tells if
// any does.
func (b balancing) changeSelves(c *nftables.Conn, have map[string]string) (changed bool) {
	for _, s := range b.selves {
		if have[s.set] == markOf(s.tasks) {
			continue
		}
		changed = true
		var elements []nftables.SetElement
		for _, addr := range s.tasks {
			elements = append(elements, nftables.SetElement{Key: append(addr.AsSlice(), addr.AsSlice()...)})
		}
		c.FlushSet(s.nftSet())
		if len(elements) > 0 {
			_ = c.SetAddElements(s.nftSet(), elements) // fails only on an anonymous set
		}
	}
	return changed
}

func serviceSet() *nftables.Set {
	return &nftables.Set{Table: servicesTable(), Name: serviceMap, IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeVerdict}
}

// spread sends connections to the tasks in turn. With none the packet goes on to
// the service's address, which is unreachable, and who asks is told so.
func spread(c *nftables.Conn, t *nftables.Table, tasks []netip.Addr) []expr.Any {
	if len(tasks) == 0 {
		return []expr.Any{&expr.Counter{}}
	}
	return inTurn(c, t, tasks, nil)
}

// inTurn sends each connection to the next of the addresses, to a port if one is
// given.
func inTurn(c *nftables.Conn, t *nftables.Table, addrs []netip.Addr, port []byte) []expr.Any {
	choice := &nftables.Set{Table: t, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr}
	var elements []nftables.SetElement
	for i, addr := range addrs {
		elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: addr.AsSlice()})
	}
	_ = c.AddSet(choice, elements) // fails only on a set of a wrong type
	exprs := []expr.Any{
		&expr.Numgen{Register: 1, Modulus: uint32(len(addrs)), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: choice.Name, SetID: choice.ID},
	}
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}
	if port != nil {
		exprs = append(exprs, &expr.Immediate{Register: 2, Data: port})
		nat.RegProtoMin = 2
	}
	return append(exprs, nat)
}
