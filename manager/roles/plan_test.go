package roles

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/script"
)

// fleet is a raft configuration that does as it is told.
type fleet struct {
	nodes   map[api.NodeID]*api.Node
	servers map[api.NodeID]*Server
	leader  api.NodeID
	wanted  int
	away    map[api.NodeID]time.Duration
	stable  map[api.NodeID]time.Duration
	// fresh servers are caught up once a plan has seen that they are not.
	fresh map[api.NodeID]bool
}

func newFleet() *fleet {
	return &fleet{
		nodes: map[api.NodeID]*api.Node{}, servers: map[api.NodeID]*Server{},
		away: map[api.NodeID]time.Duration{}, stable: map[api.NodeID]time.Duration{}, fresh: map[api.NodeID]bool{},
	}
}

func (f *fleet) plan() []Action {
	in := Input{Leader: f.leader, Wanted: f.wanted, Unreachable: f.away, Stable: f.stable}
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		in.Nodes = append(in.Nodes, f.nodes[id])
	}
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		s := *f.servers[id]
		_, away := f.away[id]
		s.Reachable = !away
		in.Servers = append(in.Servers, s)
	}
	return Plan(in)
}

func (f *fleet) do(a Action) {
	switch a.Kind {
	case AddNonvoter:
		f.servers[a.Node] = &Server{ID: a.Node, Lag: 1000}
		f.fresh[a.Node] = true
	case Promote:
		f.servers[a.Node].Voter = true
	case Demote:
		f.servers[a.Node].Voter = false
	case Remove:
		delete(f.servers, a.Node)
	case Transfer:
		f.leader = a.Node
	}
}

func (f *fleet) catchUp() bool {
	some := false
	for id := range f.fresh {
		if _, away := f.away[id]; !away && f.servers[id] != nil {
			f.servers[id].Lag, some = 0, true
			delete(f.fresh, id)
		}
	}
	return some
}

func (f *fleet) voters() (all, answering int) {
	for id, s := range f.servers {
		if s.Voter {
			all++
			if _, away := f.away[id]; !away {
				answering++
			}
		}
	}
	return all, answering
}

func (f *fleet) String() string {
	var words []string
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		word := string(id)
		if id == f.leader {
			word += "*"
		}
		if !f.servers[id].Voter {
			word = "(" + word + ")"
		}
		if _, away := f.away[id]; away {
			word += "?"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// command runs one line: "node ID [role] [up|down] [stable=DUR]", "voters ID…"
// (the first leads), "away ID DUR", "back ID", "rm ID", "wanted N", "settle".
func (f *fleet) command(line string) string {
	words := strings.Fields(line)
	id := api.NodeID("")
	if len(words) > 1 {
		id = api.NodeID(words[1])
	}
	switch words[0] {
	case "node":
		for id := range strings.SplitSeq(words[1], ",") {
			f.node(api.NodeID(id), words[2:])
		}
	case "voters":
		f.leader = id
		for _, id := range words[1:] {
			f.servers[api.NodeID(id)] = &Server{ID: api.NodeID(id), Voter: true}
		}
	case "away":
		d, err := time.ParseDuration(words[2])
		if err != nil {
			panic(err)
		}
		f.away[id] = d
	case "back":
		delete(f.away, id)
	case "rm":
		delete(f.nodes, id)
	case "wanted":
		fmt.Sscan(words[1], &f.wanted)
	case "settle":
		return f.settle()
	default:
		panic("unknown command " + line)
	}
	return ""
}

func (f *fleet) node(id api.NodeID, words []string) {
	n := &api.Node{ID: id, Spec: api.NodeSpec{Role: api.RoleAuto}, Status: api.NodeStatus{State: api.NodeReady}}
	if old := f.nodes[id]; old != nil {
		n = old
	}
	for _, word := range words {
		if text, ok := strings.CutPrefix(word, "stable="); ok {
			f.stable[id], _ = time.ParseDuration(text)
			continue
		}
		switch word {
		case "up":
			n.Status.State = api.NodeReady
		case "down":
			n.Status.State = api.NodeDown
		default:
			n.Spec.Role = api.NodeRole(word)
		}
	}
	f.nodes[id] = n
}

// settle does what is planned until nothing is, and prints it.
func (f *fleet) settle() string {
	var out strings.Builder
	for range 20 {
		actions := f.plan()
		for _, a := range actions {
			fmt.Fprintf(&out, "%s %s: %s\n", a.Kind, a.Node, a.Why)
			f.do(a)
		}
		if len(actions) > 0 {
			fmt.Fprintf(&out, "= %s\n", f)
		}
		if !f.catchUp() && len(actions) == 0 {
			if out.Len() == 0 {
				return "nothing to do: " + f.String()
			}
			return out.String()
		}
	}
	return out.String() + "does not settle"
}

func TestTranscripts(t *testing.T) {
	script.Run(t, "testdata/*.txt", func(*testing.T) func(string) string {
		f := newFleet()
		return func(line string) string {
			if line == "fleet" {
				f = newFleet()
				return ""
			}
			return f.command(line)
		}
	})
}

// TestPlanIsSafeAndSettles walks random fleets through random events.
func TestPlanIsSafeAndSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFleet()
		n := rapid.IntRange(1, 9).Draw(t, "nodes")
		ids := make([]api.NodeID, n)
		for i := range ids {
			ids[i] = api.NodeID('a' + rune(i))
			f.node(ids[i], nil)
		}
		f.leader = ids[0]
		f.servers[ids[0]] = &Server{ID: ids[0], Voter: true}
		f.wanted = rapid.SampledFrom([]int{0, 0, 1, 3, 5}).Draw(t, "wanted")
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			id := rapid.SampledFrom(ids).Draw(t, "node")
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0, 1:
				if n := f.nodes[id]; n != nil {
					n.Spec.Role = rapid.SampledFrom([]api.NodeRole{api.RoleAuto, api.RoleAuto, api.RoleManager, api.RoleWorker}).Draw(t, "role")
				}
			case 2:
				f.crash(id)
			case 3:
				delete(f.away, id)
				if n := f.nodes[id]; n != nil {
					n.Status.State = api.NodeReady
				}
			case 4:
				if id != f.leader && len(f.nodes) > 1 {
					delete(f.nodes, id)
				}
			default:
				f.settleSafely(t, rapid.IntRange(0, 3).Draw(t, "steps"))
			}
		}
		f.settleSafely(t, 30)
		if actions := f.plan(); len(actions) > 0 {
			t.Fatalf("does not settle: %v, with %v", f, actions)
		}
		voters, answering := f.voters()
		spare := false
		for id, n := range f.nodes {
			_, away := f.away[id]
			s := f.servers[id]
			spare = spare || n.Spec.Role != api.RoleWorker && !away && n.Status.State == api.NodeReady && (s == nil || !s.Voter)
		}
		if voters%2 == 0 && (spare || answering == voters) {
			// Only a leader that nobody can relieve may make it so.
			if n := f.nodes[f.leader]; n != nil && n.Spec.Role != api.RoleWorker {
				t.Fatalf("rests at %d voters: %v", voters, f)
			}
		}
		if voters > MaxVoters {
			t.Fatalf("%d voters: %v", voters, f)
		}
	})
}

// crash takes a node away for good, if a quorum is left without it.
func (f *fleet) crash(id api.NodeID) {
	voters, answering := f.voters()
	if s := f.servers[id]; s != nil && s.Voter {
		answering--
	}
	if id == f.leader || 2*answering <= voters {
		return
	}
	f.away[id] = time.Minute
	if n := f.nodes[id]; n != nil {
		n.Status.State = api.NodeDown
	}
}

// settleSafely takes steps, and fails if one of them loses the quorum, the
// leader, or makes a voter of a server that has not caught up.
func (f *fleet) settleSafely(t *rapid.T, steps int) {
	for range steps {
		first, again := f.plan(), f.plan()
		if !slices.Equal(first, again) {
			t.Fatalf("equal input, but %v and %v", first, again)
		}
		for _, a := range first {
			if a.Kind == Promote && f.servers[a.Node].Lag > CaughtUp {
				t.Fatalf("promotes %s, which lags", a.Node)
			}
			if (a.Kind == Remove || a.Kind == Demote) && a.Node == f.leader {
				t.Fatalf("%s of the leader: %v", a.Kind, f)
			}
			before, ok := f.voters()
			lost := 2*ok <= before
			f.do(a)
			if voters, answering := f.voters(); 2*answering <= voters && !lost {
				t.Fatalf("%v loses the quorum: %v", a, f)
			}
		}
		f.catchUp()
	}
}
