package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/clustertest"
	"github.com/edgeswarm/edgeswarm/runtime"
	"github.com/edgeswarm/edgeswarm/transport"
	"github.com/edgeswarm/edgeswarm/transport/quic"
	"github.com/edgeswarm/edgeswarm/transport/rpc"
)

// setNode changes a node at a board.
func setNode(t *testing.T, at *clustertest.Board, r api.UpdateNodeRequest) {
	t.Helper()
	r.RequestID = api.NewID[api.RequestID]()
	if _, err := at.Control().UpdateNode(soon(t), &r); err != nil {
		t.Fatalf("change node at %s: %v", at.Name, err)
	}
}

func setRole(t *testing.T, at, of *clustertest.Board, role api.NodeRole) {
	t.Helper()
	setNode(t, at, api.UpdateNodeRequest{Node: string(of.ID()), Role: &role})
}

// manages checks whether a board takes part in the log.
func manages(b *clustertest.Board, want bool) func() error {
	return func() error {
		if s := b.Status(); s == nil || s.Manager != want {
			return fmt.Errorf("%s takes part in the log: %v", b.Name, !want)
		}
		return nil
	}
}

func all(checks ...func() error) func() error {
	return func() error {
		for _, c := range checks {
			if err := c(); err != nil {
				return err
			}
		}
		return nil
	}
}

// A node is demoted and promoted again, the leader as well, any number of
// times; its tasks don't notice, and the log begins anew on it each time.
func TestPromoteAndDemote(t *testing.T) {
	formed(t, 4, 40, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 8)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
		before := len(events(f.Boards))
		for range 3 {
			leader := f.Leader()
			spare := workers(f)[0]
			setRole(t, spare, leader, api.RoleWorker)
			f.Within(30*time.Second, "led by another, the spare voting", all(manages(leader, false), manages(spare, true), f.Formed(3)))
			setRole(t, leader, leader, api.RoleManager)
			f.Within(30*time.Second, "voting again", all(manages(leader, true), f.Formed(3)))
			setRole(t, spare, leader, api.RoleAuto)
			f.Within(30*time.Second, "at rest", all(f.Formed(3), func() error {
				if n := len(workers(f)); n != 1 {
					return fmt.Errorf("%d boards take no part in the log", n)
				}
				return nil
			}))
		}
		f.Within(10*time.Second, "at rest", f.Converged(f.Boards[0], "web", 8))
		if after := events(f.Boards); len(after) != before {
			t.Errorf("tasks were touched: %v", after[before:])
		}
	})
}

// A voter that died is replaced by a spare board, and is a spare when it returns.
func TestADeadVoterIsReplaced(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			formed(t, 4+int(seed%2), seed, func(t *testing.T, f *clustertest.Fleet) {
				dead := f.Leader()
				dead.Cut()
				f.Within(2*time.Minute, "three voters without it", func() error {
					voters := 0
					for _, b := range f.Others() {
						if s := b.Status(); s != nil && s.Manager && s.Voters == 3 {
							voters++
						}
					}
					if voters != 3 {
						return fmt.Errorf("%d boards that live vote", voters)
					}
					return nil
				})
				dead.Start()
				f.Within(time.Minute, "a spare", all(manages(dead, false), f.Formed(3)))
			})
		})
	}
}

// A voter that was replaced while it was off finds its fleet, though none of
// those that it knew as managers is one any more.
func TestAVoterReturnsToAnotherGovernment(t *testing.T) {
	formed(t, 4, 45, func(t *testing.T, f *clustertest.Fleet) {
		spare, away := workers(f)[0], f.Leader()
		away.Cut()
		f.Within(2*time.Minute, "voting", all(manages(spare, true), f.Formed(3)))
		for _, b := range f.Others(spare) {
			setRole(t, spare, b, api.RoleWorker)
		}
		f.Within(time.Minute, "governed by one", all(f.Formed(1), func() error {
			if f.Leader() != spare {
				return errors.New("the spare does not lead")
			}
			return nil
		}))
		away.Start()
		f.Within(time.Minute, "back", all(f.Formed(1), func() error {
			if s := away.Status(); s.Leader != spare.ID() {
				return fmt.Errorf("it follows %q", s.Leader)
			}
			return nil
		}))
	})
}

// A drained node's tasks move; one that is active again takes new ones.
func TestDrain(t *testing.T) {
	formed(t, 3, 41, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 6)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 6))
		drain, active := api.AvailabilityDrain, api.AvailabilityActive
		for _, b := range f.Boards {
			setNode(t, b, api.UpdateNodeRequest{Node: "self", Availability: &drain})
			f.Within(30*time.Second, "drained", all(f.Converged(b, "web", 6), func() error {
				if n := len(containers(b, runtime.Running)); n > 0 {
					return fmt.Errorf("%d tasks still run", n)
				}
				return nil
			}))
			setNode(t, b, api.UpdateNodeRequest{Node: "self", Availability: &active})
		}
		change(t, f.Boards[0], "web", scale(12))
		f.Within(30*time.Second, "running", f.Converged(f.Boards[0], "web", 12))
		if n := len(containers(f.Boards[2], runtime.Running)); n == 0 {
			t.Error("the node that is active again has no tasks")
		}
	})
}

// A board that leaves ends its tasks, is forgotten, and stays out until it is
// told to join.
func TestLeaveAndJoinAgain(t *testing.T) {
	formed(t, 4, 42, func(t *testing.T, f *clustertest.Fleet) {
		create(t, f.Boards[0], "web", 8)
		f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
		leaver := workers(f)[0]
		other := f.Others(leaver)[0]
		if _, err := leaver.Board().Leave(soon(t), &api.LeaveRequest{}); err != nil {
			t.Fatal(err)
		}
		f.Within(20*time.Second, "gone", func() error {
			nodes, err := other.Control().ListNodes(soon(t), &api.ListNodesRequest{})
			if err != nil || len(nodes.Nodes) != 3 {
				return fmt.Errorf("the fleet has %d nodes: %w", len(nodes.Nodes), err)
			}
			if n := len(leaver.Containers.Containers()); n > 0 {
				return fmt.Errorf("%d tasks are left on it", n)
			}
			return f.Converged(other, "web", 8)()
		})
		leaver.Reboot()
		f.Pass(time.Minute)
		if s := leaver.Status(); s.Membership != api.MembershipNone {
			t.Fatalf("it is %s: %s", s.Membership, s.Message)
		}
		if _, err := leaver.Board().Join(soon(t), &api.JoinRequest{}); err != nil {
			t.Fatal(err)
		}
		f.AwaitFormed(30 * time.Second)
	})
}

// A manager that has been demoted may leave at once: what it takes until its
// seat in the log is empty is waited for.
func TestLeaveRightAfterDemotion(t *testing.T) {
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprint(leads), func(t *testing.T) {
			formed(t, 4, 46, func(t *testing.T, f *clustertest.Fleet) {
				leaver := f.Leader()
				if !leads {
					leaver = f.Others(append(workers(f), leaver)...)[0]
				}
				setRole(t, leaver, leaver, api.RoleWorker)
				began := time.Now()
				if _, err := leaver.Board().Leave(t.Context(), &api.LeaveRequest{}); err != nil {
					t.Fatalf("after %v: %v", time.Since(began), err)
				}
				others := f.Others(leaver)
				f.Within(time.Minute, "three", all(f.Formed(3, others...), func() error {
					nodes, err := others[0].Control().ListNodes(soon(t), &api.ListNodesRequest{})
					if err != nil || len(nodes.Nodes) != 3 {
						return fmt.Errorf("not three nodes: %w", err)
					}
					return nil
				}))
			})
		})
	}
}

// A demotion that can't take effect is not waited for longer than a person would.
func TestLeaveIsNotWaitedForForEver(t *testing.T) {
	formed(t, 3, 47, func(t *testing.T, f *clustertest.Fleet) {
		leaver := f.Others(f.Leader())[0]
		setRole(t, leaver, leaver, api.RoleWorker)
		for _, b := range f.Others(leaver) {
			b.Cut()
		}
		began := time.Now()
		_, err := leaver.Board().Leave(t.Context(), &api.LeaveRequest{})
		if took := time.Since(began); err == nil || took > time.Minute || !strings.Contains(err.Error(), "--force") {
			t.Errorf("after %v: %v", took, err)
		}
		if s := leaver.Status(); s.Membership != api.MembershipMember {
			t.Errorf("it is %s", s.Membership)
		}
	})
}

// A board whose container runtime is away when it is removed can't end what
// runs; it does as soon as it can, also if edged was restarted meanwhile.
func TestARemovedBoardSweepsLater(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %v", restarted), func(t *testing.T) {
			formed(t, 4, 48, func(t *testing.T, f *clustertest.Fleet) {
				create(t, f.Boards[0], "web", 8)
				f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
				gone := workers(f)[0]
				other := f.Others(gone)[0]
				gone.Containers.SetDown(true)
				_, err := other.Control().RemoveNode(soon(t), &api.RemoveNodeRequest{RequestID: api.NewID[api.RequestID](), Node: string(gone.ID()), Force: true})
				if err != nil {
					t.Fatal(err)
				}
				removed := func() error {
					if s := gone.Status(); s.Membership != api.MembershipRemoved || !strings.Contains(s.Message, "does not answer") {
						return fmt.Errorf("it is %s: %s", s.Membership, s.Message)
					}
					return nil
				}
				f.Within(90*time.Second, "out, and saying what is left", removed)
				if restarted {
					gone.Stop()
					gone.Start()
					f.Within(10*time.Second, "out, and saying what is left", removed)
				}
				f.Pass(10 * time.Minute)
				if n := len(gone.Containers.Containers()); n == 0 {
					t.Fatal("there is nothing to sweep")
				}
				gone.Containers.SetDown(false)
				f.Within(time.Minute, "swept", func() error {
					if n, s := len(gone.Containers.Containers()), gone.Status(); n > 0 || strings.Contains(s.Message, "does not answer") {
						return fmt.Errorf("%d tasks are left: %s", n, s.Message)
					}
					return nil
				})
			})
		})
	}
}

// The fleet's one manager of two boards can't leave the other alone, but a
// manager of three can be made to.
func TestAManagerLeavesByForce(t *testing.T) {
	for _, leads := range []bool{true, false} {
		t.Run(fmt.Sprint(leads), func(t *testing.T) {
			formed(t, 4, 43, func(t *testing.T, f *clustertest.Fleet) {
				leaver := f.Leader()
				if !leads {
					leaver = f.Others(append(workers(f), leaver)...)[0]
				}
				if _, err := leaver.Board().Leave(soon(t), &api.LeaveRequest{}); api.KindOf(err) != api.Conflict {
					t.Fatalf("a manager left without force: %v", err)
				}
				if _, err := leaver.Board().Leave(soon(t), &api.LeaveRequest{Force: true}); err != nil {
					t.Fatal(err)
				}
				others := f.Others(leaver)
				f.Within(time.Minute, "three", all(f.Formed(3, others...), func() error {
					nodes, err := others[0].Control().ListNodes(soon(t), &api.ListNodesRequest{})
					if err != nil || len(nodes.Nodes) != 3 {
						return fmt.Errorf("not three nodes: %w", err)
					}
					return nil
				}))
			})
		})
	}
}

// A node that is removed, be it there or away, learns so, ends what it ran and
// stays out; and to whoever has its key, no member says anything.
func TestARemovedBoardGetsNothing(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("away %v", away), func(t *testing.T) {
			formed(t, 4, 44, func(t *testing.T, f *clustertest.Fleet) {
				create(t, f.Boards[0], "web", 8)
				f.Within(20*time.Second, "running", f.Converged(f.Boards[0], "web", 8))
				gone := workers(f)[0]
				others := f.Others(gone)
				id := gone.ID()
				keys := gone.CopyState()
				if away {
					f.Partition([]*clustertest.Board{gone})
					f.Pass(10 * time.Second)
				}
				_, err := others[0].Control().RemoveNode(soon(t), &api.RemoveNodeRequest{RequestID: api.NewID[api.RequestID](), Node: string(id), Force: true})
				if err != nil {
					t.Fatal(err)
				}
				f.Pass(time.Second)
				f.Heal()
				f.Within(90*time.Second, "out", func() error {
					if s := gone.Status(); s.Membership != api.MembershipRemoved {
						return fmt.Errorf("it is %s: %s", s.Membership, s.Message)
					}
					if n := len(gone.Containers.Containers()); n > 0 {
						return fmt.Errorf("%d tasks are left on it", n)
					}
					return f.Converged(others[0], "web", 8)()
				})
				gone.Cut()
				impostor(t, f, gone, keys, others)
				for _, b := range others {
					b.Reboot() // and forget that there ever was such a node
				}
				f.Within(time.Minute, "formed", f.Formed(3, others...))
				impostor(t, f, gone, keys, others)
			})
		})
	}
}

// impostor has a board's keys and address and tries to get something out of
// each of the others, be it only who leads them.
func impostor(t *testing.T, f *clustertest.Fleet, from *clustertest.Board, keys string, others []*clustertest.Board) {
	t.Helper()
	keeper, err := identity.Open(identity.Config{Dir: keys + "/identity", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	host, err := f.LAN.Host(from.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := quic.New(quic.Config{PacketConn: host, Identity: keeper})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()
	for _, b := range others {
		endpoint.Learn(b.ID(), b.Endpoint())
		for _, p := range []transport.Protocol{transport.Raft, transport.Blob} {
			if conn, err := endpoint.Dial(soon(t), b.ID(), p); !errors.Is(err, transport.ErrRefused) {
				t.Errorf("%s speaks %s to it: %v %v", b.Name, p, conn, err)
			}
		}
		calls, err := rpc.Dial(endpoint, b.ID())
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func(context.Context) error{
			"ListNodes": func(ctx context.Context) error {
				_, err := api.NewControlClient(calls).ListNodes(ctx, &api.ListNodesRequest{})
				return err
			},
			"GetJoinToken": func(ctx context.Context) error {
				_, err := api.NewControlClient(calls).GetJoinToken(ctx, &api.GetJoinTokenRequest{Role: api.RoleWorker})
				return err
			},
			"GetBoard": func(ctx context.Context) error {
				_, err := api.NewBoardClient(calls).GetBoard(ctx)
				return err
			},
			"WhoLeads": func(ctx context.Context) error {
				_, err := api.NewBoardClient(calls).WhoLeads(ctx)
				return err
			},
			"FetchImage": func(ctx context.Context) error {
				_, err := api.NewBoardClient(calls).FetchImage(ctx, &api.FetchImageRequest{Image: &api.Image{}})
				return err
			},
			"RenewCertificate": func(ctx context.Context) error {
				csr, err := keeper.CSR()
				if err != nil {
					t.Fatal(err)
				}
				_, err = api.NewDispatchClient(calls).RenewCertificate(ctx, &api.RenewRequest{CSR: csr})
				return err
			},
			"Session": func(ctx context.Context) error {
				stream, err := api.NewDispatchClient(calls).Session(ctx)
				if err != nil {
					return err
				}
				_ = stream.Send(&api.Report{Hello: &api.Hello{}})
				_, err = stream.Recv()
				return err
			},
			"Logs": func(ctx context.Context) error {
				stream, err := api.NewBoardClient(calls).Logs(ctx, &api.LogsRequest{Service: "web"})
				if err != nil {
					return err
				}
				_, err = stream.Recv()
				return err
			},
		} {
			var e *api.Error
			if err := call(soon(t)); err == nil || errors.As(err, &e) && e.Leader != "" {
				t.Errorf("%s answers %s: %v", b.Name, name, err)
			}
		}
		_ = calls.Close()
	}
}

// shownCode is the code that a board without key or token shows.
func shownCode(b *clustertest.Board) string {
	s := b.Status()
	if s == nil {
		return ""
	}
	_, code, _ := strings.Cut(s.Message, "edgectl node accept ")
	return code
}

// A board with neither key nor token waits, and is let in by the code that it
// shows, asked of any board of the fleet. Restarts of either side give it
// another code.
func TestJoinByAcceptance(t *testing.T) {
	inBubble(t, 5, 49, func(t *testing.T, f *clustertest.Fleet) {
		members, waits := f.Boards[:4], f.Boards[4]
		for _, b := range members {
			b.Start()
		}
		f.Within(time.Minute, "formed", f.Formed(3, members...))
		waits.Config.FleetKey = ""
		waits.Start()
		shows := func(but string) func() error {
			return func() error {
				if code := shownCode(waits); code == "" || code == but {
					return fmt.Errorf("it shows %q: %s", code, waits.Status().Message)
				}
				return nil
			}
		}
		accept := func(at *clustertest.Board, code string) error {
			_, err := at.Board().Accept(soon(t), &api.AcceptRequest{Code: code})
			return err
		}
		f.Within(20*time.Second, "waiting", shows(""))
		first := shownCode(waits)
		if s := waits.Status(); s.Membership != api.MembershipNone {
			t.Errorf("it is %s", s.Membership)
		}
		f.Pass(5 * time.Minute) // the operator is away
		resp, err := workers(f)[0].Board().Waiting(soon(t), &api.WaitingRequest{})
		if err != nil || len(resp.Boards) != 1 || resp.Boards[0].Code != first[:5] || resp.Boards[0].Hostname != waits.Name || resp.Boards[0].NodeID != waits.ID() {
			t.Fatalf("who waits: %+v, %v", resp, err)
		}
		if _, err := waits.Control().ListNodes(soon(t), &api.ListNodesRequest{}); err == nil {
			t.Error("who waits sees the fleet")
		}
		if err := accept(members[0], "nonsense"); api.KindOf(err) != api.Invalid {
			t.Errorf("nonsense: %v", err)
		}
		waits.Reboot()
		f.Within(30*time.Second, "another code", shows(first))
		if err := accept(members[0], first); err == nil {
			t.Error("the code of before its restart lets it in")
		}
		second := shownCode(waits)
		for _, b := range members {
			b.Reboot()
		}
		f.Within(2*time.Minute, "formed", f.Formed(3, members...))
		f.Within(6*time.Minute, "another code", shows(second))
		if err := accept(members[0], second); err == nil {
			t.Error("the code of before the managers' restart lets it in")
		}
		if err := accept(workers(f)[0], shownCode(waits)); err != nil {
			t.Fatal(err)
		}
		f.Within(time.Minute, "a member", f.Formed(3))
		waits.Reboot()
		f.Within(time.Minute, "a member", f.Formed(3))
	})
}
