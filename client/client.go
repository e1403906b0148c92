package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/edgeswarm/edgeswarm/api"
)

// DefaultPatience is how long a call is repeated while the fleet has no leader
// or the node restarts.
const DefaultPatience = 15 * time.Second

// Config says which node to speak to, and how patiently.
type Config struct {
	// Target is "unix:///path" or "ssh://[user@]host[:port][/socket]"; "" is
	// what EDGE_HOST says, else the local node at DefaultSocket.
	Target string
	// Patience is how long a call is repeated; 0 is DefaultPatience, negative
	// never repeats.
	Patience time.Duration
	// SSH is the program that ssh targets are reached with, and its first
	// arguments; nil is "ssh".
	SSH []string
}

// Client is a connection to one node. It is safe for concurrent use.
type Client struct {
	conn    *grpc.ClientConn
	control *api.ControlClient
	board   *api.BoardClient
	vault   *api.VaultClient
	network *api.NetworkClient
	target  target

	patience time.Duration
	dialer   *dialer
}

// Dial connects to a target with the defaults of Config. The error says in one
// line what could not be reached, why, and what to do.
func Dial(ctx context.Context, target string) (*Client, error) {
	return New(ctx, Config{Target: target})
}

// New connects to the node that cfg names and returns once it answers.
func New(ctx context.Context, cfg Config) (*Client, error) {
	t, err := parseTarget(cfg.Target)
	if err != nil {
		return nil, &api.Error{Kind: api.Invalid, Err: err}
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	if cfg.SSH == nil {
		cfg.SSH = []string{"ssh"}
	}
	d := &dialer{target: t, ssh: cfg.SSH}
	conn, err := grpc.NewClient("passthrough:///node", append(api.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's mode, or ssh, is the protection
		grpc.WithContextDialer(d.dial), grpc.WithAuthority("node"),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: t.connectTimeout(),
		}))...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t, err)
	}
	c := &Client{conn: conn, target: t, patience: cfg.Patience, dialer: d}
	c.board = api.NewBoardClient(&retrier{next: conn, patience: cfg.Patience})
	fleet := &retrier{next: conn, patience: cfg.Patience, hopeless: c.hopeless}
	c.control, c.vault, c.network = api.NewControlClient(fleet), api.NewVaultClient(fleet), api.NewNetworkClient(fleet)
	if err := c.await(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// await returns once the first connection stands or has failed.
func (c *Client) await(ctx context.Context) error {
	c.conn.Connect()
	for {
		switch state := c.conn.GetState(); state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure:
			return &api.Error{Kind: api.Unavailable, Err: c.target.explain(c.dialer.failure())}
		default:
			if !c.conn.WaitForStateChange(ctx, state) {
				return fmt.Errorf("connect to %s: %w", c.target, ctx.Err())
			}
		}
	}
}

// Control returns the fleet's side of the node. Calls are repeated on
// Unavailable and NotLeader; a write without a RequestID is given one.
func (c *Client) Control() *api.ControlClient { return c.control }

// Vault returns the fleet's secrets and configs. Calls are repeated as Control's.
func (c *Client) Vault() *api.VaultClient { return c.vault }

// Network returns the fleet's networks. Calls are repeated as Control's.
func (c *Client) Network() *api.NetworkClient { return c.network }

// Board returns the node's own side. Only reads are repeated.
func (c *Client) Board() *api.BoardClient { return c.board }

// Target is the address that was dialled, for messages.
func (c *Client) Target() string { return c.target.String() }

// Close ends the connection and everything that runs over it.
func (c *Client) Close() error { return c.conn.Close() }

// hopeless answers why a call that just failed is not worth repeating, nil if
// it is: a board outside of any fleet won't get a leader by waiting.
func (c *Client) hopeless(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := api.NewBoardClient(c.conn).GetBoard(ctx)
	if err != nil || status.Membership == api.MembershipMember {
		return nil
	}
	return NotMember(status)
}

// NotMember says in one line that a board is in no fleet, why, and what to do.
func NotMember(status *api.BoardStatus) error {
	text := "this board is not a member of a fleet"
	switch {
	case status.Message != "": // the board knows best what it waits for
		text += ": " + status.Message
		if status.Membership == api.MembershipSeeking {
			text += "; follow it with edgectl status"
		}
	case status.Membership == api.MembershipSeeking:
		text += ": it looks for its fleet; follow it with edgectl status"
	case status.Membership == api.MembershipRemoved:
		text += ": the fleet removed it; run edgectl leave --force, then edgectl join"
	default:
		text += ": found one with edgectl init, or enter one with edgectl join"
	}
	return &api.Error{Kind: api.Conflict, Err: fmt.Errorf("%s", text)}
}

// dialer makes the connection's transport and remembers why it last failed,
// because gRPC passes on only a part of it.
type dialer struct {
	target target
	ssh    []string

	mu  sync.Mutex
	err error
}

func (d *dialer) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := d.connect(ctx)
	d.fail(err)
	return conn, err
}

func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	if d.target.ssh != nil {
		return startCommand(d.target.ssh.command(d.ssh, d.target.socket), d.fail)
	}
	var nd net.Dialer
	return nd.DialContext(ctx, "unix", d.target.socket)
}

func (d *dialer) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *dialer) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
