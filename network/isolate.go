package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// The table of networks. It is made anew, in one transaction, when which
// networks and peers there are changes, and when something of it is missing.
const (
	networkTable = "edgeswarm-networks"
	guardChain   = "guard"
	forwardChain = "forward"
)

func networksTable() *nftables.Table {
	return &nftables.Table{Name: networkTable, Family: nftables.TableFamilyIPv4}
}

// ensure keeps networks apart from each other and from all else:
//
//	guard: from a link of ours, but not by the way that leads back there: drop
//	       a packet of a VXLAN for this board from who is no peer: drop
//	forward: within a network's subnet: accept
//	         from or to a network's subnet otherwise: drop
//	         between boards, what was sent to a published port: accept
func (i isolation) ensure(have string, in *change) error {
	if have == i.mark {
		return nil
	}
	c, err := in.transaction()
	if err != nil {
		return err
	}
	t := networksTable()
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	if i.mark != "" {
		i.build(c)
	}
	if err := in.commit(c); err != nil {
		return fmt.Errorf("make rules of networks: %w", err)
	}
	return nil
}

// isolation is what the table is to hold. Mark names it by its content, and is on
// every rule.
type isolation struct {
	subnets []netip.Prefix
	ingress netip.Prefix // zero is none
	peers   []netip.Addr
	mark    string
}

func isolationOf(networks []*api.NetworkInfo, peers map[api.NodeID]netip.Addr) isolation {
	if len(networks) == 0 {
		return isolation{}
	}
	var i isolation
	for _, n := range networks {
		if n.Ingress {
			i.ingress = n.Subnet
		} else {
			i.subnets = append(i.subnets, n.Subnet)
		}
	}
	for _, addr := range peers {
		i.peers = append(i.peers, addr)
	}
	slices.SortFunc(i.subnets, comparePrefixes)
	slices.SortFunc(i.peers, netip.Addr.Compare)
	i.peers = slices.Compact(i.peers)
	sum := sha256.Sum256(fmt.Append(nil, i.subnets, i.ingress, i.peers))
	i.mark = hex.EncodeToString(sum[:8])
	return i
}

// isolationIs is the mark of what is in place: "" if there is no such table, and
// something that no mark is if it is not whole.
func isolationIs(c *nftables.Conn) (string, error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return "", err
	}
	mark, rules, found := "", 0, false
	for _, chain := range chains {
		if chain.Table.Name != networkTable || chain.Name != guardChain && chain.Name != forwardChain {
			continue
		}
		found = true
		list, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return "", err
		}
		for _, r := range list {
			if rules++; mark == "" {
				mark = string(r.UserData)
			} else if mark != string(r.UserData) {
				return "mixed", nil
			}
		}
	}
	if !found {
		return "", nil
	}
	var count int
	var sum string
	if n, err := fmt.Sscanf(mark, "%d %s", &count, &sum); err != nil || n != 2 || count != rules {
		return "incomplete", nil
	}
	return sum, nil
}

func (i isolation) build(c *nftables.Conn) {
	t := c.AddTable(networksTable())
	guard := c.AddChain(&nftables.Chain{
		Name: guardChain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	forward := c.AddChain(&nftables.Chain{
		Name: forwardChain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityFilter - 5),
	})
	peers := &nftables.Set{Table: t, Name: "peers", KeyType: nftables.TypeIPAddr}
	var elements []nftables.SetElement
	for _, addr := range i.peers {
		elements = append(elements, nftables.SetElement{Key: addr.AsSlice()})
	}
	_ = c.AddSet(peers, elements) // fails only on a set of a wrong type

	var guards, forwards [][]expr.Any
	guards = append(guards,
		slices.Concat(arrivingByOurs(), noWayBack(), []expr.Any{drop()}),
		slices.Concat(toLocalAddress(), toPort(unix.IPPROTO_UDP, vxlanPort), notFromSet(peers), []expr.Any{drop()}))
	for _, subnet := range i.subnets {
		forwards = append(forwards, slices.Concat(from(subnet), to(subnet), []expr.Any{accept()}))
	}
	for _, subnet := range i.subnets {
		forwards = append(forwards, append(from(subnet), drop()), append(to(subnet), drop()))
	}
	if i.ingress.IsValid() {
		forwards = append(forwards,
			slices.Concat(from(i.ingress), destinationWasChanged(), []expr.Any{accept()}),
			slices.Concat(to(i.ingress), destinationWasChanged(), []expr.Any{accept()}),
			append(from(i.ingress), drop()), append(to(i.ingress), drop()))
	}
	mark := fmt.Appendf(nil, "%d %s", len(guards)+len(forwards), i.mark)
	for _, exprs := range guards {
		c.AddRule(&nftables.Rule{Table: t, Chain: guard, UserData: mark, Exprs: exprs})
	}
	for _, exprs := range forwards {
		c.AddRule(&nftables.Rule{Table: t, Chain: forward, UserData: mark, Exprs: exprs})
	}
}

func drop() expr.Any   { return &expr.Verdict{Kind: expr.VerdictDrop} }
func accept() expr.Any { return &expr.Verdict{Kind: expr.VerdictAccept} }

// arrivingByOurs matches links whose names begin as ours do.
func arrivingByOurs() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("edge")},
	}
}

// noWayBack matches what came in by a link that does not lead to its source.
func noWayBack() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

func to(p netip.Prefix) []expr.Any {
	mask := net.CIDRMask(p.Bits(), 32)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func toPort(protocol byte, port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}

func notFromSet(s *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: true},
	}
}
