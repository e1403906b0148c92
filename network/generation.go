package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
)

// ruleState is what of our rules is in place, as marks of their content.
type ruleState struct {
	// generation of all rules of the board as this was found; 0 is none.
	generation uint32
	// fabric that they were made of.
	fabric    *agent.Fabric
	isolation string
	frame     string            // of balancing
	services  map[string]string // by chain
	served    map[string]served // what services were made of, by chain; nil if that was not by us
	selves    map[string]string // by set
	published string            // the frame of published ports
	ports     map[string]string // by chain
}

// rules are all that the board's rules are to hold, but for ports of single tasks.
type rules struct {
	isolation isolation
	balancing balancing
	ingress   ingress
}

func (l *Local) wantedRules(w weaving, woven []*api.NetworkInfo) rules {
	at := func(task api.TaskID) (netip.Addr, bool) { return l.notedAddress(l.taskDir(task)) }
	return rules{isolationOf(w.fabric.Networks, w.peers()), balancingOf(w.fabric, woven), l.ingressOf(w, woven, at)}
}

// ensureRules makes the board's rules what they should be. They are read only
// after somebody has changed any since they were last found right: so that a
// task's coming or going costs what it changes, however many services there are.
func (l *Local) ensureRules(w weaving, woven []*api.NetworkInfo) error {
	c, err := newChange()
	if err != nil {
		return err
	}
	defer c.end()
	now, err := c.generation()
	if err != nil {
		return err
	}
	f, want := w.fabric, l.wantedRules(w, woven)
	isolation, balancing, ingress := want.isolation, want.balancing, want.ingress
	untouched := now == l.rules.generation && now != 0
	if untouched && f == l.rules.fabric && l.rules.isolation == isolation.mark && l.rules.frame == balancing.mark() &&
		l.rules.published == ingress.mark() && maps.Equal(l.rules.ports, ingress.marks()) {
		return nil
	}
	have := l.rules
	l.rules = ruleState{}
	published := l.ensurePublished(f.Tasks)
	begun, err := c.generation()
	if err != nil {
		return errors.Join(published, err)
	}
	if !untouched || begun != now {
		if have, err = readRules(); err != nil {
			return errors.Join(published, err)
		}
	}
	if err := errors.Join(published, isolation.ensure(have.isolation, c), balancing.ensure(have, c),
		ingress.ensure(have.published, have.ports, c), openWay(gatewaysOf(woven, f.Node))); err != nil {
		return err
	}
	ended, err := c.generation()
	if err != nil || ended != begun+c.commits {
		return err // somebody else changed rules meanwhile: next time they are read
	}
	l.rules = ruleState{generation: ended, fabric: f, isolation: isolation.mark, frame: balancing.mark(), published: ingress.mark(), ports: ingress.marks()}
	l.rules.services, l.rules.selves = balancing.marks()
	l.rules.served = balancing.served
	return nil
}

// ruleBuffer lets the rules of all services of a large fleet pass as one
// transaction, and the kernel acknowledge each of its messages: a socket's usual
// buffers hold some hundred. It is a limit, and takes no memory by itself.
const ruleBuffer = 64 << 20

// ruleConn is a way to the kernel's rules, opened for each exchange.
func ruleConn() *nftables.Conn {
	c, _ := nftables.New(nftables.WithSockOptions(wide)) // fails only on one that is kept open
	return c
}

func wide(c *netlink.Conn) error {
	return errors.Join(c.SetWriteBuffer(ruleBuffer), c.SetReadBuffer(ruleBuffer))
}

// change is one change of the board's rules, of some transactions.
type change struct {
	// asks is for questions, and is kept open with what was opened for the
	// transactions: the kernel does not let go of one before it has disposed of
	// all that was replaced, which is some 10 ms after the change is in force.
	asks    *netlink.Conn
	opened  []func() error
	commits uint32
}

func newChange() (*change, error) {
	asks, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the board's rules: %w", err)
	}
	return &change{asks: asks, opened: []func() error{asks.Close}}, nil
}

// end does not wait for what the kernel has yet to dispose of.
func (c *change) end() {
	go func() {
		for _, end := range c.opened {
			_ = end() // all answers were read
		}
	}()
}

// transaction begins one.
func (c *change) transaction() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(wide))
	if err != nil {
		return nil, fmt.Errorf("open a way to the board's rules: %w", err)
	}
	c.opened = append(c.opened, conn.CloseLasting)
	return conn, nil
}

// commit sends what a transaction gathered, and counts it.
func (c *change) commit(t *nftables.Conn) error {
	if err := t.Flush(); err != nil {
		return err
	}
	c.commits++
	return nil
}

func readRules() (s ruleState, err error) {
	c := ruleConn()
	if s.isolation, err = isolationIs(c); err != nil {
		return s, fmt.Errorf("read rules of networks: %w", err)
	}
	if s.frame, s.services, err = serviceBranches().read(c, 2); err != nil {
		return s, fmt.Errorf("read rules of services: %w", err)
	}
	if s.published, s.ports, err = portBranches().read(c, ingressFrame); err != nil {
		return s, fmt.Errorf("read rules of published ports: %w", err)
	}
	return s, nil
}

// generation numbers the state of all nftables rules of the board: while it is
// the same, nobody has changed one.
func (c *change) generation() (uint32, error) {
	const genID = 1 // linux/netfilter/nf_tables.h: NFTA_GEN_ID
	answers, err := c.asks.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the rules' generation: %w", err)
	}
	for _, m := range answers {
		if len(m.Data) < 4 {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("read the rules' generation: %w", err)
		}
		for _, a := range attrs {
			if a.Type == genID && len(a.Data) == 4 {
				return uint32(a.Data[0])<<24 | uint32(a.Data[1])<<16 | uint32(a.Data[2])<<8 | uint32(a.Data[3]), nil
			}
		}
	}
	return 0, fmt.Errorf("read the rules' generation: the answer has none")
}
