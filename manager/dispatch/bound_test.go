package dispatch

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/manager/managertest"
)

// Whatever a node says of itself, the managers' memory and cards bear it.
func TestWhatANodeSaysIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, managertest.Node("a", "one"), managertest.Node("b", "two"), task("t1", "b"))
		defer b.stop(t)
		long := strings.Repeat("ä", 1<<20)
		s := managertest.Open(t.Context(), b.server, "b")
		greeting := hello(api.SetID{})
		greeting.Hello.Description.Engine.RuntimeError = long
		for range 1000 {
			greeting.Hello.Addrs = append(greeting.Hello.Addrs, netip.MustParseAddrPort("192.0.2.1:2377"))
		}
		greeting.Tasks = []api.TaskReport{{ID: "t1", Status: api.TaskStatus{State: api.TaskFailed, Attempt: 1, Exhausted: true, Err: long, Message: long}}}
		s.Report(greeting)
		drain(s)
		b.commit(t)
		node, kept := b.View().Node("b"), b.View().Task("t1")
		if why := node.Description.Engine.RuntimeError; !strings.HasPrefix(why, "ää") || len(why) > maxText+4 || len(node.Status.Addrs) != maxAddrs {
			t.Errorf("kept an error of %d bytes and %d addresses", len(why), len(node.Status.Addrs))
		}
		if kept.Status.State != api.TaskFailed || len(kept.Status.Err) > maxText+4 || len(kept.Status.Message) > maxText+4 {
			t.Errorf("kept %s of %d and %d bytes", kept.Status.State, len(kept.Status.Err), len(kept.Status.Message))
		}
		if facts := b.commit(t); len(facts.Puts()) != 0 {
			t.Error("what was cut is news for ever")
		}

		huge := managertest.Description("board")
		huge.Hostname = long
		s.Report(&api.Report{Description: &huge})
		drain(s)
		b.commit(t)
		if name := b.View().Node("b").Description.Hostname; name != node.Description.Hostname {
			t.Errorf("kept a host name of %d bytes", len(name))
		}
	})
}
