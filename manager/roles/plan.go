package roles

import (
	"cmp"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// DeadAfter is how long a voter is unreachable before a spare takes its place.
	DeadAfter = 30 * time.Second
	// CaughtUp is how many entries a server may lag and be made a voter.
	CaughtUp = 64
	// MaxVoters is the most that a fleet has: more make each write slower, and
	// few fleets lose three managers at once.
	MaxVoters = 5
	// largeFleet is the number of nodes from which five vote.
	largeFleet = 7
)

// Input is all that a plan depends on.
type Input struct {
	Nodes   []*api.Node
	Servers []Server
	Leader  api.NodeID
	// Wanted is the operator's number of voters: 1, 3 or 5; 0 lets the fleet choose.
	Wanted int
	// Unreachable is for how long a server has not answered its leader; a
	// server or node that is not in it is taken to answer.
	Unreachable map[api.NodeID]time.Duration
	// Stable is for how long a node has been up without a break.
	Stable map[api.NodeID]time.Duration
}

// Server is a member of raft's configuration, as the leader sees it.
type Server struct {
	ID        api.NodeID
	Voter     bool
	Reachable bool
	Lag       uint64 // entries behind the leader's commit
}

// Kind is what an action does.
type Kind string

// Kinds.
const (
	// AddNonvoter lets a node follow the log.
	AddNonvoter Kind = "add"
	// Promote gives a server that has caught up a vote.
	Promote Kind = "promote"
	// Demote takes a server's vote. It goes on following, and so learns of it,
	// until the next plan removes it.
	Demote Kind = "demote"
	// Remove takes a server out of the configuration.
	Remove Kind = "remove"
	// Transfer hands leadership to the named node. What is left to do, the new
	// leader plans.
	Transfer Kind = "transfer"
)

// Action is one step. Those of one plan are taken in order, back to back, until
// one fails.
type Action struct {
	Kind Kind
	Node api.NodeID
	Why  string // for the log
}

// Plan says what to do now; nothing when the configuration is as good as it can
// be. It is asked again whenever nodes, servers or their reachability change,
// and while a server is being caught up.
func Plan(in Input) []Action {
	p := newPlanner(in)
	wanted := p.choose()

	var actions []Action
	waiting := false
	var promotions []Action
	for _, c := range wanted {
		switch {
		case c.server == nil:
			actions = append(actions, Action{AddNonvoter, c.id, p.whyIn(c)})
			waiting = true
		case c.server.Voter:
		case c.server.Reachable && c.server.Lag <= CaughtUp:
			promotions = append(promotions, Action{Promote, c.id, "it has caught up"})
		default:
			waiting = true
		}
	}
	// All or none, and what is to go goes right after: the number of voters
	// does not rest at an even one in between.
	if !waiting {
		actions = append(actions, promotions...)
		p.grow(promotions)
	}
	return append(actions, p.leave(wanted, waiting)...)
}

// planner is one plan under way.
type planner struct {
	in         Input
	candidates []*candidate        // best first
	voters     map[api.NodeID]bool // the configuration as it will be
	answers    map[api.NodeID]bool // which servers are reachable
	member     map[api.NodeID]*api.Node
}

// candidate is a node that may vote.
type candidate struct {
	id     api.NodeID
	pinned bool
	leader bool
	voter  bool
	// ready to become a voter: up, and answering if it is a server already.
	ready bool
	// dead: a voter that has been away for so long that another takes its place.
	dead   bool
	stable time.Duration
	server *Server
}

func newPlanner(in Input) *planner {
	p := &planner{in: in, voters: map[api.NodeID]bool{}, answers: map[api.NodeID]bool{}, member: map[api.NodeID]*api.Node{}}
	servers := map[api.NodeID]*Server{}
	for _, s := range in.Servers {
		servers[s.ID] = &s
		p.answers[s.ID] = s.Reachable || s.ID == in.Leader
		if s.Voter {
			p.voters[s.ID] = true
		}
	}
	for _, n := range in.Nodes {
		p.member[n.ID] = n
		if n.Spec.Role == api.RoleWorker {
			continue
		}
		c := &candidate{id: n.ID, pinned: n.Spec.Role == api.RoleManager, leader: n.ID == in.Leader, stable: in.Stable[n.ID], server: servers[n.ID]}
		c.voter = p.voters[n.ID]
		_, away := in.Unreachable[n.ID]
		c.dead = !c.leader && in.Unreachable[n.ID] >= DeadAfter
		// One that is being caught up may stumble; one that is not begun with may not.
		c.ready = c.leader || c.server != nil && !c.dead || n.Status.State == api.NodeReady && !away
		p.candidates = append(p.candidates, c)
	}
	slices.SortFunc(p.candidates, better)
	return p
}

// better orders candidates: those that are there, the operator's choice, the
// leader, those that vote, and those that have been up for long.
func better(a, b *candidate) int {
	return cmp.Or(
		first(!a.dead && (a.voter || a.ready), !b.dead && (b.voter || b.ready)),
		first(a.pinned, b.pinned),
		first(a.leader, b.leader),
		first(a.voter, b.voter),
		first(a.server != nil, b.server != nil),
		cmp.Compare(b.stable, a.stable),
		cmp.Compare(a.id, b.id))
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// choose names those that are to vote. A voter that is away keeps its place
// while nobody can take it.
func (p *planner) choose() []*candidate {
	able := slices.DeleteFunc(slices.Clone(p.candidates), func(c *candidate) bool { return !c.voter && !c.ready })
	size := odd(min(p.target(), len(able)))
	return able[:size]
}

// target is the number of voters to aim for, by the number of nodes that may
// vote, up or down: a node that is off for a while changes nothing.
func (p *planner) target() int {
	target, pinned := p.in.Wanted, 0
	if target == 0 {
		switch n := len(p.candidates); {
		case n >= largeFleet:
			target = 5
		case n >= 3:
			target = 3
		default:
			target = 1
		}
	}
	for _, c := range p.candidates {
		if c.pinned {
			pinned++
		}
	}
	return min(max(target, pinned|1), MaxVoters)
}

// odd is the largest odd number up to n; 0 for 0.
func odd(n int) int {
	if n > 0 && n%2 == 0 {
		return n - 1
	}
	return max(n, 0)
}

func (p *planner) whyIn(c *candidate) string {
	if c.pinned {
		return "the operator wants it to manage"
	}
	return "the fleet can have another voter"
}

func (p *planner) grow(promotions []Action) {
	for _, a := range promotions {
		p.voters[a.Node] = true
	}
}

// leave plans who goes. While a successor is catching up only those go that
// are no members any more. The dead go first, and nobody goes whose leaving
// would take the quorum away.
func (p *planner) leave(wanted []*candidate, waiting bool) []Action {
	stays := map[api.NodeID]bool{}
	for _, c := range wanted {
		stays[c.id] = true
	}
	var going []Server
	for _, s := range p.in.Servers {
		if !stays[s.ID] {
			going = append(going, s)
		}
	}
	slices.SortFunc(going, func(a, b Server) int {
		return cmp.Or(first(!p.answers[a.ID], !p.answers[b.ID]), cmp.Compare(a.ID, b.ID))
	})
	var actions []Action
	for _, s := range going {
		node, isMember := p.member[s.ID]
		switch {
		case waiting && isMember && s.Voter, s.ID == p.in.Leader:
			continue
		case s.Voter && !p.quorumWithout(s.ID):
			continue
		case !isMember:
			actions = append(actions, Action{Remove, s.ID, "it is no member any more"})
		case s.Voter && p.answers[s.ID]:
			actions = append(actions, Action{Demote, s.ID, whyOut(node)})
		case s.Voter:
			actions = append(actions, Action{Remove, s.ID, "it does not answer"})
		default:
			actions = append(actions, Action{Remove, s.ID, "it is not needed to vote"})
		}
		delete(p.voters, s.ID)
	}
	_, leaderIsMember := p.member[p.in.Leader]
	if heir := p.heir(wanted); heir != nil && !stays[p.in.Leader] && !(waiting && leaderIsMember) {
		actions = append(actions, Action{Transfer, heir.id, "the leader is to leave"})
	}
	return actions
}

func whyOut(n *api.Node) string {
	if n.Spec.Role == api.RoleWorker {
		return "the operator wants it to work only"
	}
	return "an odd number votes"
}

// quorumWithout reports whether most of the voters that are left answer.
func (p *planner) quorumWithout(id api.NodeID) bool {
	left, answering := 0, 0
	for voter := range p.voters {
		if voter == id {
			continue
		}
		left++
		if p.answers[voter] {
			answering++
		}
	}
	return 2*answering > left
}

// heir is the best of those who can take leadership over; nil if nobody can.
func (p *planner) heir(wanted []*candidate) *candidate {
	for _, c := range wanted {
		if p.voters[c.id] && p.answers[c.id] && !c.leader {
			return c
		}
	}
	return nil
}
