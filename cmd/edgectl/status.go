package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// leaderWait is how long status and info wait for a leader's account before
// they go by what the board itself knows.
const leaderWait = 3 * time.Second

// fleetStatus is what `status` knows; the fields are the template's.
type fleetStatus struct {
	Node       string
	NodeID     api.NodeID
	Version    string
	Membership api.MembershipState
	Message    string
	Candidates int
	Rivals     []api.FleetID

	Fleet           string
	FleetID         api.FleetID
	Leader          string
	Voters          int
	ReachableVoters int
	// Survives is how many more managers may be lost; -1 without a majority.
	Survives     int
	Nodes        int
	NodesReady   int
	Services     int
	Tasks        uint64
	TasksRunning uint64
	// Trouble says in a line each what is not as it should be.
	Trouble []string
}

func newStatus(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Say in a few lines how the fleet is, and what it can survive",
		Long: `Say in a few lines how the fleet is, what it can survive, and what is wrong. On
a board that is in no fleet, say what it waits for. It exits with 0 whenever the
board answers; what is wrong is in .Trouble for programs.`,
		Example: `  edgectl status
  edgectl status --format '{{.Survives}}'`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			s, err := gatherStatus(ctx, node)
			if err != nil {
				return err
			}
			if format != "" && format != output.Table {
				return output.Objects(c.out, format, []*fleetStatus{s})
			}
			return s.print(c.out)
		}),
	}
	registerFormat(cmd.Flags(), &format, "f")
	return cmd
}

func gatherStatus(ctx context.Context, node *client.Client) (*fleetStatus, error) {
	board, err := node.Board().GetBoard(ctx)
	if err != nil {
		return nil, err
	}
	s := &fleetStatus{
		Node: board.Hostname, NodeID: board.NodeID, Version: board.Version, Membership: board.Membership, Message: board.Message,
		Candidates: board.Candidates, Rivals: board.Rivals, Fleet: board.FleetName, FleetID: board.FleetID,
		Leader: board.LeaderName, Voters: board.Voters, Survives: -1,
	}
	if r := board.Description.Engine.RuntimeError; r != "" {
		s.trouble("this board can't run tasks: %s", r)
	}
	if why := board.Description.Trouble; why != "" && why != board.Message {
		s.trouble("%s", why)
	}
	for _, rival := range board.Rivals {
		s.trouble("fleet %s has the same key, and both have been written to: they stay apart until you choose; take the boards of one with edgectl leave --force, and they join the other", rival)
	}
	for _, b := range board.Troubled {
		s.trouble("board %s (%s), in no fleet, says: %s", b.Hostname, orNone(b.Addr), b.Trouble)
	}
	if board.Membership != api.MembershipMember {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	if err := s.askFleet(ctx, node.Control()); err != nil {
		s.Leader = ""
		s.trouble("no leader answers (%v): tasks run on, but nothing can be changed until a majority of the managers is back", err)
	}
	return s, nil
}

func (s *fleetStatus) trouble(format string, args ...any) {
	s.Trouble = append(s.Trouble, output.Safe(fmt.Sprintf(format, args...)))
}

func (s *fleetStatus) askFleet(ctx context.Context, control *api.ControlClient) error {
	fleet, err := control.GetCluster(ctx, &api.GetClusterRequest{})
	if err != nil {
		return err
	}
	nodes, err := control.ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return err
	}
	services, err := control.ListServices(ctx, &api.ListServicesRequest{})
	if err != nil {
		return err
	}
	s.Voters, s.ReachableVoters = fleet.Voters, fleet.ReachableVoters
	s.Survives = survives(s.Voters, s.ReachableVoters)
	s.Nodes, s.Services = len(nodes.Nodes), len(services.Services)
	for _, n := range nodes.Nodes {
		if n.ID == fleet.Leader {
			s.Leader = n.Name()
		}
		s.addNode(n)
	}
	for _, v := range services.Services {
		s.Tasks, s.TasksRunning = s.Tasks+v.Desired, s.TasksRunning+v.Running
		if v.Running < v.Desired {
			name := v.Service.Spec.Name
			s.trouble("service %s runs %d of %d tasks: see edgectl service ps %s", name, v.Running, v.Desired, name)
		}
	}
	return nil
}

func (s *fleetStatus) addNode(n *api.Node) {
	switch {
	case n.Status.State != api.NodeReady:
		text := fmt.Sprintf("node %s is %s", n.Name(), n.Status.State)
		if !n.Status.Since.IsZero() {
			text += " for " + strings.ToLower(output.Span(max(now().Sub(n.Status.Since), 0)))
		}
		if n.Status.Message != "" {
			text += ": " + n.Status.Message
		}
		s.trouble("%s", text)
		return
	case n.ID == s.NodeID:
		// What ails this board it has said itself.
	default:
		if why := n.Description.Engine.RuntimeError; why != "" {
			s.trouble("node %s can't run tasks: %s", n.Name(), why)
		}
		if why := n.Description.Trouble; why != "" {
			s.trouble("node %s: %s", n.Name(), why)
		}
	}
	s.NodesReady++
}

// survives is how many more of the voters may be lost with a majority left; -1
// when it is lost already.
func survives(voters, reachable int) int {
	if spare := reachable - (voters/2 + 1); voters > 0 && spare >= 0 {
		return spare
	}
	return -1
}

// survival says the same in words.
func survival(voters, reachable int) string {
	text := fmt.Sprintf("%s, %d reachable: ", count(voters, "voter"), reachable)
	switch n := survives(voters, reachable); {
	case n < 0:
		return text + fmt.Sprintf("no majority, nothing can be changed until %d more are back", voters/2+1-reachable)
	case n == 0 && voters < 3:
		return text + "survives the loss of none; three boards would survive the loss of 1"
	case n == 0:
		return text + "survives the loss of none until another is back"
	default:
		return text + fmt.Sprintf("survives the loss of %d", n)
	}
}

func (s *fleetStatus) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 1, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(tw, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("Board:", "%s (%s), edged %s", s.Node, orNone(string(s.NodeID)), s.Version)
	if s.Membership != api.MembershipMember {
		line("Fleet:", "none: %s", notMember(s))
		if s.Candidates > 0 {
			line("Seen:", "%s with the same fleet key, not yet in a fleet", count(s.Candidates, "other board"))
		}
	} else {
		line("Fleet:", "%s", orNone(strings.TrimSpace(s.Fleet+" "+string(s.FleetID))))
		line("Leader:", "%s", orNone(s.Leader))
		if s.Nodes > 0 {
			line("Managers:", "%s", survival(s.Voters, s.ReachableVoters))
			line("Nodes:", "%d, %d ready", s.Nodes, s.NodesReady)
			line("Services:", "%d, %d of %d tasks run", s.Services, s.TasksRunning, s.Tasks)
		} else if s.Voters > 0 {
			line("Managers:", "%s", count(s.Voters, "voter"))
		}
		if s.Message != "" {
			line("Message:", "%s", output.Safe(s.Message))
		}
	}
	for i, t := range s.Trouble {
		key := ""
		if i == 0 {
			key = "Trouble:"
		}
		line(key, "%s", t)
	}
	return tw.Flush()
}

// notMember says what a board outside of any fleet waits for, and what to do.
func notMember(s *fleetStatus) string {
	if s.Message != "" {
		return output.Safe(s.Message)
	}
	return strings.TrimPrefix(client.NotMember(&api.BoardStatus{Membership: s.Membership}).Error(), "this board is ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
