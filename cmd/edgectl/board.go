package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/client"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/flagvalue"
	"github.com/edgeswarm/edgeswarm/identity"
)

func newInit(c *cli) *cobra.Command {
	var req api.InitRequest
	var keyFile string
	cmd := &cobra.Command{
		Use:   "init [OPTIONS]",
		Short: "Found a fleet with this board as its first",
		Long: `Found a fleet with this board as its first.

Boards that hold the same fleet key found their fleet by themselves; init is for
a fleet without one, or for choosing the founder. The key that is printed lets
boards in by itself: write it on their cards, and keep it secret.`,
		Example: `  edgectl init
  edgectl init --name shed --advertise-addr 192.168.1.10
  edgectl fleet-key > key; edgectl init --fleet-key-file key`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := c.readFleetKey(keyFile)
			if err != nil {
				return err
			}
			req.FleetKey = key
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error { return c.init(ctx, node, &req) })(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&req.Name, "name", "", "name of the fleet")
	fs.StringVar(&req.AdvertiseAddr, "advertise-addr", "", "address at which others reach this board, as HOST or HOST:PORT (default: found by itself)")
	fs.StringVar(&keyFile, "fleet-key-file", "", "file with the fleet's key, or - for standard input (default: the board's own, else a new one)")
	fs.BoolVar(&req.Force, "force", false, "also on a board that was in a fleet before")
	return cmd
}

// readFleetKey reads and checks a key file; "" for none.
func (c *cli) readFleetKey(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	from := c.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", invalidf("--fleet-key-file: %w; name a file that holds the key", err)
		}
		defer f.Close()
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, 4096))
	if err != nil {
		return "", fmt.Errorf("read fleet key: %w", err)
	}
	key, err := identity.ParseFleetKey(strings.TrimSpace(string(raw)))
	if err != nil {
		return "", err
	}
	return key.Reveal(), nil
}

func (c *cli) init(ctx context.Context, node *client.Client, req *api.InitRequest) error {
	resp, err := node.Board().Init(ctx, req)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Fleet %s founded: this board (%s) is its first manager.\n", resp.FleetID, resp.NodeID)
	if resp.WorkerToken != "" {
		fmt.Fprintf(c.out, "\nTo let another board in, run on it:\n\n    edgectl join --token %s %s\n", resp.WorkerToken, resp.Addr)
	}
	if resp.FleetKey != "" {
		fmt.Fprintf(c.out, "\nBoards whose card holds this fleet key come in by themselves:\n\n    %s\n", resp.FleetKey)
	}
	return nil
}

// joinWait is how long join looks on until the board is in.
const joinWait = 30 * time.Second

func newJoin(c *cli) *cobra.Command {
	var req api.JoinRequest
	cmd := &cobra.Command{
		Use:   "join [OPTIONS] [HOST[:PORT]...]",
		Short: "Let this board enter a fleet",
		Long: `Let this board enter a fleet, by a token that edgectl join-token prints on a
board of that fleet, or without one by the fleet key on this board's card: a
board with a key enters by itself, but not after it has left or was removed.
HOST is any board of the fleet, the port 2377 unless given; without any, the
boards on this network are asked.`,
		Example: `  edgectl join --token EDGETKN-1-… 192.168.1.10
  edgectl join`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Addrs = args
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error { return c.join(ctx, node, &req) })(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&req.Token, "token", "", "token of the fleet (default: the fleet key on the board's card)")
	fs.StringVar(&req.AdvertiseAddr, "advertise-addr", "", "address at which others reach this board, as HOST or HOST:PORT (default: found by itself)")
	return cmd
}

func (c *cli) join(ctx context.Context, node *client.Client, req *api.JoinRequest) error {
	said := "" // what the board waited for until now is no news
	if before, err := node.Board().GetBoard(ctx); err == nil {
		said = before.Message
	}
	if _, err := node.Board().Join(ctx, req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := node.Board().GetBoard(ctx)
		if err == nil && status.Membership == api.MembershipMember {
			fmt.Fprintf(c.out, "This board joined fleet %s as node %s.\n", fleetName(status), status.NodeID)
			return nil
		}
		if err == nil && status.Message != said {
			said = status.Message
			fmt.Fprintln(c.err, "waiting: "+said)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("the board is not in after %v (%s): it goes on trying; follow it with edgectl status", joinWait, said)
			}
			return ctx.Err()
		}
	}
}

func newLeave(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "leave [OPTIONS]",
		Short: "Take this board out of its fleet",
		Long: `Take this board out of its fleet: its tasks end, and it forgets the fleet. A
manager, or a board that reaches no manager, leaves only with --force.`,
		Example: `  edgectl leave
  edgectl leave --force`,
		Args: noArgs,
		RunE: c.with(func(ctx context.Context, node *client.Client, _ []string) error {
			if _, err := node.Board().Leave(ctx, &api.LeaveRequest{Force: force}); err != nil {
				return err
			}
			fmt.Fprintln(c.out, "Node left the fleet.")
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "leave as a manager too, or with no manager reachable")
	return cmd
}

func newFleetKey(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "fleet-key",
		Short: "Make a new fleet key, for the cards of a fleet to be",
		Long: `Make a new fleet key and print it. Boards whose cards hold the same key find each
other and form one fleet by themselves. No node is asked, so this works anywhere.`,
		Example: `  edgectl fleet-key > fleet.key`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(c.out, identity.GenerateFleetKey().Reveal())
			return err
		},
	}
}

func newJoinToken(c *cli) *cobra.Command {
	req := api.GetJoinTokenRequest{}
	ttl := flagvalue.New(flagvalue.Duration, "duration")
	quiet := false
	cmd := &cobra.Command{
		Use:   "join-token [OPTIONS] (worker|manager)",
		Short: "Print the token that lets a board in, or make a new one",
		Example: `  edgectl join-token worker
  edgectl join-token --rotate --ttl 1h worker
  ssh pi@board4 sudo edgectl join --token $(edgectl join-token -q worker) board1`,
		Args: needArgs(1, 1), ValidArgs: []string{"worker", "manager"},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Role, err = flagvalue.Choice(api.RoleWorker, api.RoleManager)(args[0]); err != nil {
				return invalidf("role %s: %w", args[0], err)
			}
			if ttl.Value != nil && !req.Rotate {
				return invalidf("--ttl %v: it is set when a token is made: add --rotate to make a new one", *ttl.Value)
			}
			req.TTL = ttl.Or(0)
			return c.with(func(ctx context.Context, node *client.Client, _ []string) error {
				return c.joinToken(ctx, node, &req, quiet)
			})(cmd, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&req.Rotate, "rotate", false, "make a new token; the old one stops to work")
	fs.Var(ttl, "ttl", "with --rotate: how long the new token works (default: for ever)")
	fs.BoolVarP(&quiet, "quiet", "q", false, "print only the token")
	return cmd
}

func (c *cli) joinToken(ctx context.Context, node *client.Client, req *api.GetJoinTokenRequest, quiet bool) error {
	resp, err := node.Control().GetJoinToken(ctx, req)
	if err != nil {
		return err
	}
	if quiet {
		fmt.Fprintln(c.out, resp.Token)
		return nil
	}
	if req.Rotate {
		fmt.Fprintf(c.out, "A new %s token is made; the old one works no more.\n\n", req.Role)
	}
	fmt.Fprintf(c.out, "To let a board in as a %s, run on it:\n\n    edgectl join --token %s %s\n", req.Role, resp.Token, strings.Join(resp.Addrs, " "))
	if !resp.Expires.IsZero() {
		fmt.Fprintf(c.out, "\nThe token works until %s.\n", resp.Expires.Local().Format(time.RFC1123))
	}
	return nil
}

// fleetName is what a fleet is called, with its ID if it has a name.
func fleetName(s *api.BoardStatus) string {
	if s.FleetName == "" {
		return string(s.FleetID)
	}
	return fmt.Sprintf("%s (%s)", s.FleetName, api.ShortID(s.FleetID))
}
