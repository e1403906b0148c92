package orchestrator_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// stories are commands after which a fleet settles, whoever leads it.
var stories = map[string]string{
	"update of one that will not stop": `node a,b
service web image=stuck:1 replicas=2
run 3s
update web image=app:2
run 300s`,
	"update": `node a,b,c
service web image=app:1 replicas=5 parallelism=2 delay=4s monitor=3s
run 5s
update web image=app:2
run 60s`,
	"start-first update": `node a,b
service web image=app:1 replicas=3 parallelism=1 delay=2s monitor=3s order=start-first
run 5s
update web image=app:2
run 60s`,
	"update that fails and goes back": `node a,b,c
service web image=app:1 replicas=4 parallelism=2 monitor=4s failure=rollback attempts=1
run 5s
update web image=crash:2
run 90s`,
	"update that fails and stops": `node a,b,c
service web image=app:1 replicas=4 monitor=4s restart=none
run 5s
update web image=crash:2
run 90s`,
	"drain": `node a,b,c
service web image=app:1 replicas=6
service db image=app:1 replicas=2 order=start-first
run 5s
node a drain
run 60s`,
	"job": `node a,b
service backup job=7/3 image=exit:1
run 60s`,
	"job whose boards come and go": `node a,b,c
service backup job=6/2 image=exit:1
run 5s
off a
run 5s
on a
node b drain
run 60s
rm-node c
run 20s`,
	"job run twice": `node a,b
service sweep global-job image=exit:1
run 4s
update sweep force
run 60s`,
	"moves that fetch first": `node a,b
service web image=app:1 replicas=3
run 5s
node a drain
update web image=slow:1
run 20s
node a active
node b drain
run 60s`,
	"rebalance": `node a
service web image=app:1 replicas=7 parallelism=2 delay=3s monitor=3s
service db image=app:1 replicas=3 order=start-first
run 5s
node b,c
rebalance web
rebalance db
run 60s`,
	"what a board has is taken from it": `node a,b
node a generic=gpu:A1,gpu:A2
node b generic=gpu:B1,gpu:B2
service ml image=app:1 replicas=3 generic=gpu:1 delay=2s monitor=3s
run 5s
update ml image=app:2
run 3s
node a generic=gpu:A2
run 60s
node a drain
run 30s`,
	"scale down": `node a,b,c
service web image=app:1 replicas=9
run 5s
update web replicas=2
run 30s`,
}

// TestALeaderDiesAfterAnyCommit tells each story with a leader that dies right
// after its k-th commit, for every k: it ends as it does without.
func TestALeaderDiesAfterAnyCommit(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			calm := tell(t, story, func(uint64) bool { return false })
			want := calm.outcome()
			for k := uint64(1); k <= calm.index; k++ {
				if got := tell(t, story, func(index uint64) bool { return index == k }).outcome(); got != want {
					t.Fatalf("leader dies after commit %d:\n%s\nwithout:\n%s", k, got, want)
				}
			}
			if got := tell(t, story, func(index uint64) bool { return index%3 == 0 }).outcome(); got != want {
				t.Fatalf("leaders die after every third commit:\n%s\nwithout:\n%s", got, want)
			}
		})
	}
}

// tell runs a story; the leader dies after commits that dies says so of.
func tell(t *testing.T, story string, dies func(index uint64) bool) *world {
	w := newWorld()
	w.committed = func() {
		if dies(w.index) {
			w.newLeader()
		}
	}
	for line := range strings.SplitSeq(story, "\n") {
		w.command(t, strings.Fields(line))
	}
	return w
}

// outcome is how a fleet ended up, apart from when, and which of two equal
// boards has what.
func (w *world) outcome() string {
	var lines []string
	for s := range w.v.Services.All() {
		line := fmt.Sprintf("%s of %s", s.Spec.Name, s.Spec.TaskTemplate.ContainerSpec.Image)
		if r := s.Rollout; r != nil {
			line += fmt.Sprintf(" %s after %d waves of %d slots, %d failed", r.State, r.Wave, r.Total, r.Failed)
		}
		lines = append(lines, line)
	}
	for t := range w.v.Tasks.All() {
		where := cmp.Or(w.v.Node(t.NodeID), &api.Node{}).Spec.Availability
		lines = append(lines, fmt.Sprintf("%s.%d %s on an %s node shall be %s, is %s, with %d GPUs", t.ServiceName, t.Slot, t.Spec.ContainerSpec.Image, where,
			t.DesiredState, t.Status.State, api.GenericAmount(t.GenericResources, "gpu")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
