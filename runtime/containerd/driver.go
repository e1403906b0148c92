package containerd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/platforms"
	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// Defaults of Config.
const (
	DefaultSocket      = "/run/containerd/containerd.sock"
	DefaultNamespace   = "edgeswarm"
	DefaultSnapshotter = "overlayfs"
	DefaultCgroupRoot  = "/edgeswarm"
	DefaultRunDir      = "/run/edgeswarm"
	// DefaultPidsLimit keeps a fork bomb inside its task: a board has 32768
	// process IDs in all.
	DefaultPidsLimit = 4096
)

// Config is what New needs. The zero value of a field is its default above.
type Config struct {
	Socket      string // of the daemon
	Namespace   string // containerd's: what keeps our containers apart from others'
	Snapshotter string
	// CgroupRoot is the parent of the containers' cgroups where the container
	// names none.
	CgroupRoot string
	// RunDir holds the FIFOs of Exec; on tmpfs.
	RunDir string
	// PidsLimit is the most processes of a container; negative: no limit.
	PidsLimit int64
	// Init is a static program on the board, and its arguments, to put before
	// the command of a container that wants one: it reaps and passes signals on.
	Init []string
	// Trouble says why the daemon does not run, "" if it does, where somebody
	// looks after it; nil if nobody is known to.
	Trouble func() string
	Logger  *slog.Logger
}

// Driver runs containers in containerd. It connects by itself, when first
// used and again whenever the daemon comes back.
type Driver struct {
	cfg      Config
	log      *slog.Logger
	client   *client.Client
	tasks    tasks.TasksClient
	snaps    snapshots.Snapshotter
	platform platforms.MatchComparer
	cgroups  cgroups
	maxFiles uint64

	ctx   context.Context // ends with Close; bounds work that several callers share
	close context.CancelFunc

	unpacks  singleflight.Group
	mu       sync.Mutex
	images   map[string]*image    // by digest asked for
	users    map[userKey]identity // what names mean in an image
	removing map[string]int       // how many calls are removing the container

	sweeping chan struct{} // one slot: whoever has it may look at swept
	swept    bool
}

var _ runtime.Driver = (*Driver)(nil)

// New makes a driver. It does not need the daemon to be there: until it is,
// every call answers runtime.ErrUnavailable.
func New(cfg Config) (*Driver, error) {
	cfg = cfg.withDefaults()
	if !filepath.IsAbs(cfg.Socket) {
		return nil, fmt.Errorf("containerd socket %q: must be an absolute path", cfg.Socket)
	}
	if !filepath.IsAbs(cfg.CgroupRoot) {
		return nil, fmt.Errorf("cgroup root %q: must be an absolute path", cfg.CgroupRoot)
	}
	c, err := Dial(cfg.Socket, cfg.Namespace)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, log: cfg.Logger, client: c, tasks: c.TaskService(), snaps: c.SnapshotService(cfg.Snapshotter),
		platform: platforms.Default(), cgroups: mountedCgroups(), maxFiles: openFiles(),
		images: map[string]*image{}, users: map[userKey]identity{}, removing: map[string]int{}, sweeping: make(chan struct{}, 1),
	}
	d.ctx, d.close = context.WithCancel(context.Background())
	return d, nil
}

func (c Config) withDefaults() Config {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Socket, DefaultSocket)
	set(&c.Namespace, DefaultNamespace)
	set(&c.Snapshotter, DefaultSnapshotter)
	set(&c.CgroupRoot, DefaultCgroupRoot)
	set(&c.RunDir, DefaultRunDir)
	if c.PidsLimit == 0 {
		c.PidsLimit = DefaultPidsLimit
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Dial makes a client of the daemon that connects when it is used, fails at
// once while nothing listens, and tries again every two seconds at the latest.
func Dial(socket, namespace string) (*client.Client, error) {
	c, err := client.New(socket, client.WithDefaultNamespace(namespace), client.WithExtraDialOpts([]grpc.DialOption{
		// The client's own dialer waits ten seconds for a socket to appear.
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}))
	if err != nil {
		return nil, fmt.Errorf("make containerd client: %w", err)
	}
	return c, nil
}

// Client is the driver's connection, for what else speaks to the same daemon.
// It is closed by Close.
func (d *Driver) Client() *client.Client { return d.client }

// Close lets go of the daemon. Containers go on.
func (d *Driver) Close() error {
	d.close()
	return d.client.Close()
}

// Info says what runs tasks here.
func (d *Driver) Info(ctx context.Context) (runtime.Info, error) {
	v, err := d.client.Version(ctx)
	if err != nil {
		return runtime.Info{}, d.wrap("ask containerd's version", err)
	}
	return runtime.Info{Name: "containerd", Version: v.Version}, nil
}

// Gone waits for the end of the connection to the daemon.
func (d *Driver) Gone(ctx context.Context) error {
	conn, ok := d.client.Conn().(*grpc.ClientConn)
	if !ok {
		return fmt.Errorf("watch containerd: its connection is a %T", d.client.Conn())
	}
	if conn.GetState() == connectivity.Ready {
		conn.WaitForStateChange(ctx, connectivity.Ready)
	}
	return ctx.Err()
}
