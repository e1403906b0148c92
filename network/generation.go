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
	now, err := generation()
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
	begun, err := generation()
	if err != nil {
		return errors.Join(published, err)
	}
	if !untouched || begun != now {
		if have, err = readRules(); err != nil {
			return errors.Join(published, err)
		}
	}
	var commits uint32
	if err := errors.Join(published, isolation.ensure(have.isolation, &commits), balancing.ensure(have.frame, have.services, have.selves, &commits),
		ingress.ensure(have.published, have.ports, &commits), openWay(gatewaysOf(woven, f.Node))); err != nil {
		return err
	}
	ended, err := generation()
	if err != nil || ended != begun+commits {
		return err // somebody else changed rules meanwhile: next time they are read
	}
	l.rules = ruleState{generation: ended, fabric: f, isolation: isolation.mark, frame: balancing.mark(), published: ingress.mark(), ports: ingress.marks()}
	l.rules.services, l.rules.selves = balancing.marks()
	return nil
}

// commit sends what was gathered as one transaction, and counts it.
func commit(c *nftables.Conn, commits *uint32) error {
	if err := c.Flush(); err != nil {
		return err
	}
	*commits++
	return nil
}

func readRules() (s ruleState, err error) {
	c := &nftables.Conn{}
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
func generation() (uint32, error) {
	const genID = 1 // linux/netfilter/nf_tables.h: NFTA_GEN_ID
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("ask for the rules' generation: %w", err)
	}
	defer conn.Close() // it only asked
	answers, err := conn.Execute(netlink.Message{
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
