package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// The table is ours alone; chains hold one rule for each purpose, and the
// published chain one for each port, marked with its task.
const (
	tableName     = "edgeswarm"
	publishChain  = "published"
	preroutingCh  = "prerouting"
	outputChain   = "output"
	postroutingCh = "postrouting"
)

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
}

// ensureRules makes the table with its fixed rules unless it is there.
//
//	prerouting, output: to a local address -> published
//	postrouting: from the subnet to elsewhere -> masquerade; and what was sent
//	             on to a task by the board itself, so that answers come back
func ensureRules(subnet netip.Prefix) error {
	c := ruleConn()
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name == tableName && chain.Name == postroutingCh {
			return nil // made last, in one transaction with the rest
		}
	}
	t := c.AddTable(table())
	published := c.AddChain(&nftables.Chain{Name: publishChain, Table: t})
	for name, hook := range map[string]*nftables.ChainHook{preroutingCh: nftables.ChainHookPrerouting, outputChain: nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest,
		})
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(toLocalAddress(), jump(published.Name))})
	}
	post := c.AddChain(&nftables.Chain{
		Name: postroutingCh, Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: t, Chain: post, Exprs: append(append(from(subnet), leavingBy(bridgeName, expr.CmpOpNeq)...), &expr.Masq{})})
	// A board that asks its own published port does so from an address that the
	// task can't answer to (127.0.0.1), and a task that asks its own would be
	// answered past the translation.
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, source := range []netip.Prefix{loopback, subnet} {
		c.AddRule(&nftables.Rule{Table: t, Chain: post, Exprs: append(append(append(from(source), leavingBy(bridgeName, expr.CmpOpEq)...), destinationWasChanged()...), &expr.Masq{})})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("make nftables rules: %w", err)
	}
	return nil
}

// publish sends the task's host ports to its address. What is there stays.
func publish(task *api.Task, addr netip.Addr) error {
	have, err := publishedBy(task.ID)
	if err != nil {
		return err
	}
	c := ruleConn()
	added := false
	for _, p := range task.Ports {
		if p.PublishMode != api.PublishHost || p.PublishedPort == 0 || have[portMark(task.ID, p)] {
			continue
		}
		if err := portFree(p); err != nil {
			return err
		}
		added = true
		c.AddRule(&nftables.Rule{
			Table: table(), Chain: &nftables.Chain{Name: publishChain, Table: table()},
			UserData: []byte(portMark(task.ID, p)), Exprs: forward(p, addr),
		})
	}
	if !added {
		return nil
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("publish ports: %w", err)
	}
	return nil
}

// ensurePublished mends the table, and the rules of tasks that are attached and
// have ports, should another tool have taken them away.
func (l *Local) ensurePublished(tasks []*api.Task) error {
	for _, task := range tasks {
		if len(task.Ports) == 0 {
			continue
		}
		addr, ok := l.notedAddress(l.taskDir(task.ID))
		if !ok {
			continue
		}
		if err := l.ensureBridge(); err != nil {
			return err
		}
		if err := publish(task, addr); err != nil {
			return err
		}
	}
	return nil
}

// portMark names a rule: whose it is and what for.
func portMark(task api.TaskID, p api.PortConfig) string {
	return string(task) + " " + string(p.Protocol) + " " + strconv.Itoa(int(p.PublishedPort))
}

// publishedBy lists the marks of a task's rules.
func publishedBy(task api.TaskID) (map[string]bool, error) {
	rules, err := publishRules(task)
	marks := make(map[string]bool, len(rules))
	for _, r := range rules {
		marks[string(r.UserData)] = true
	}
	return marks, err
}

func publishRules(task api.TaskID) ([]*nftables.Rule, error) {
	c := ruleConn()
	rules, err := c.GetRules(table(), &nftables.Chain{Name: publishChain, Table: table()})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list published ports: %w", err)
	}
	var ours []*nftables.Rule
	for _, r := range rules {
		if prefix := string(task) + " "; len(r.UserData) > len(prefix) && string(r.UserData[:len(prefix)]) == prefix {
			ours = append(ours, r)
		}
	}
	return ours, nil
}

// unpublish removes the rules of a task's ports.
func unpublish(task api.TaskID) error {
	rules, err := publishRules(task)
	if err != nil || len(rules) == 0 {
		return err
	}
	c := ruleConn()
	for _, r := range rules {
		if err := c.DelRule(r); err != nil {
			return fmt.Errorf("withdraw ports: %w", err)
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("withdraw ports: %w", err)
	}
	return nil
}

// portFree reports a port on which a program of the board itself listens: the
// rules would take its traffic away without a word.
func portFree(p api.PortConfig) error {
	addresses, err := published(p)
	for _, address := range addresses {
		if err == nil {
			err = listens(p.Protocol, address)
		}
	}
	if err == nil {
		return nil
	}
	hint := ""
	if !p.Address.IsValid() {
		hint = ", or publish it on some of the board's addresses"
	}
	return api.Errorf(api.Conflict, "", "port %d/%s of this board is in use by another program: stop it, or publish another port%s (%w)", p.PublishedPort, p.Protocol, hint, err)
}

// published are the addresses to listen on: that of all, or those that a port is
// limited to.
func published(p api.PortConfig) ([]string, error) {
	port := strconv.Itoa(int(p.PublishedPort))
	if !p.Address.IsValid() {
		return []string{":" + port}, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the board's addresses: %w", err)
	}
	var list []string
	for _, a := range own {
		if addr := prefixOf(a).Addr(); p.Address.Contains(addr) {
			list = append(list, net.JoinHostPort(addr.String(), port))
		}
	}
	return list, nil
}

// listens listens on an address of the board for a moment.
func listens(protocol api.Protocol, address string) error {
	var listener io.Closer
	var err error
	if protocol == api.UDP {
		listener, err = net.ListenPacket("udp", address)
	} else {
		listener, err = net.Listen("tcp", address)
	}
	if err != nil {
		return err
	}
	return listener.Close()
}

// The expressions below are what `nft` would make of the words in their names.

func toLocalAddress() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func jump(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictJump, Chain: chain} }

func from(p netip.Prefix) []expr.Any {
	mask := net.CIDRMask(p.Bits(), 32)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func leavingBy(link string, op expr.CmpOp) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: name},
	}
}

func destinationWasChanged() []expr.Any {
	const ipsDstNAT = 1 << 5 // linux/netfilter/nf_conntrack_common.h
	bit := binaryutil.NativeEndian.PutUint32(ipsDstNAT)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bit, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func forward(p api.PortConfig, addr netip.Addr) []expr.Any {
	var exprs []expr.Any
	if p.Address.IsValid() {
		exprs = to(p.Address)
	}
	return append(append(exprs, toPort(protocolNumber(p.Protocol), p.PublishedPort)...),
		&expr.Immediate{Register: 1, Data: addr.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(p.TargetPort)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
}
