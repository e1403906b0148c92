package node

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network"
)

// Config of a board. Zero values mean the defaults named with each field.
type Config struct {
	// Name is the board's hostname in the fleet (default: the system's).
	Name string
	// StateDir is what must last: keys, log, assignments, volumes, task logs.
	StateDir string
	// RunDir is for sockets and namespaces; a reboot empties it.
	RunDir string
	// Listen is the one UDP port (default ":2377").
	Listen string
	// Advertise is where others reach this board, host or host:port; default:
	// every address of the board that is not loopback.
	Advertise string
	// FleetKey, as on the card; "" for a board that joins by token or waits.
	FleetKey string
	// JoinToken and JoinAddrs enter a fleet without a key.
	JoinToken string
	JoinAddrs []string
	// Labels of the node, taken up when it joins.
	Labels map[string]string

	// Containerd is its socket's path; or "managed", for one that edged keeps
	// by itself; or "auto" (the default): the system's where it runs when the
	// board is first started, else a managed one.
	Containerd string
	// Namespace is what our containers are kept in (default "edgeswarm").
	Namespace string
	// CgroupParent is where tasks' cgroups are made (default "/edgeswarm").
	CgroupParent string
	// TaskSubnets is the pool of the board's own task subnet (default 10.210.0.0/16).
	TaskSubnets string
	// MeshPort is the one UDP port of encrypted networks (default 51820).
	MeshPort uint16

	// RegistryMirrors are URLs to ask before a registry, by the registry's name.
	RegistryMirrors map[string]string
	// Consoles are terminals that show who the board is and how it is.
	Consoles []string
	// Trouble is what whoever started the board found wrong with it ("edge.yaml
	// line 3: …"): it is announced and shown until the next start.
	Trouble string

	// ReserveMemory in bytes is kept from tasks for the system (default 64 MiB).
	ReserveMemory int64
	// GenericResources that the board has to give to tasks: see
	// api.ParseGenericResources.
	GenericResources []string
	// BootID tells one boot from another (default: the kernel's).
	BootID string
	// BuildTime is the floor of the board's clock.
	BuildTime time.Time
	Version   string
	Logger    *slog.Logger
}

// Paths of a board's default places.
const (
	DefaultStateDir = "/var/lib/edgeswarm"
	DefaultRunDir   = "/run/edgeswarm"
)

// withDefaults fills in what is unset, and checks the rest. The error names
// the setting.
func (c Config) withDefaults() (Config, error) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.StateDir, DefaultStateDir)
	set(&c.RunDir, DefaultRunDir)
	set(&c.Listen, fmt.Sprintf(":%d", api.DefaultPort))
	set(&c.Containerd, AutoContainerd)
	set(&c.Namespace, "edgeswarm")
	set(&c.CgroupParent, "/edgeswarm")
	set(&c.TaskSubnets, "10.210.0.0/16")
	if c.MeshPort == 0 {
		c.MeshPort = network.DefaultMeshPort
	}
	if c.ReserveMemory == 0 {
		c.ReserveMemory = 64 << 20
	}
	if err := (api.NodeSpec{Annotations: api.Annotations{Name: c.Name}}).Validate(); err != nil {
		return c, fmt.Errorf("name: %w", err) // what the system calls itself is taken as it is
	}
	var err error
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil {
			return c, fmt.Errorf("read hostname: %w (give --name)", err)
		}
	}
	if c.BootID == "" {
		if c.BootID, err = host.BootID(); err != nil {
			return c, err
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func (c Config) validate() error {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port) {
		return fmt.Errorf("listen %q: want [address]:port, such as :%d", c.Listen, api.DefaultPort)
	}
	if pool, err := netip.ParsePrefix(c.TaskSubnets); err != nil || !pool.Addr().Is4() || pool.Bits() > 20 {
		return fmt.Errorf("task-subnets %q: want an IPv4 prefix of /20 or larger, such as 10.210.0.0/16", c.TaskSubnets)
	}
	if c.FleetKey != "" {
		if _, err := identity.ParseFleetKey(c.FleetKey); err != nil {
			return fmt.Errorf("fleet-key: %w", err)
		}
	}
	if c.JoinToken != "" {
		if _, err := identity.ParseToken(c.JoinToken); err != nil {
			return fmt.Errorf("join-token: %w", err)
		}
	}
	if c.JoinToken != "" && len(c.JoinAddrs) == 0 {
		return fmt.Errorf("join-token is set and join-addr is not: name a manager's address")
	}
	if c.Containerd != AutoContainerd && c.Containerd != ManagedContainerd && !filepath.IsAbs(c.Containerd) {
		return fmt.Errorf("containerd %q: want the path of its socket, %s or %s", c.Containerd, ManagedContainerd, AutoContainerd)
	}
	for _, dir := range []string{c.StateDir, c.RunDir} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%q is not an absolute path", dir)
		}
	}
	if !strings.HasPrefix(c.CgroupParent, "/") {
		return fmt.Errorf("cgroup-parent %q: want an absolute path such as /edgeswarm", c.CgroupParent)
	}
	return nil
}

// filesDir is where tasks' secrets and configs lie in the clear.
func (c Config) filesDir() string { return filepath.Join(c.RunDir, "secrets") }

// Socket is where edgectl finds a board with these settings.
func (c Config) Socket() string { return filepath.Join(c.RunDir, "edged.sock") }

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16) // 0 is any that is free
	return err == nil
}
