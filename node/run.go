package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
	"github.com/edgeswarm/edgeswarm/discovery/mdns"
	"github.com/edgeswarm/edgeswarm/discovery/static"
	"github.com/edgeswarm/edgeswarm/image"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network"
	"github.com/edgeswarm/edgeswarm/transport/quic"
)

// Run is the life of a real board: it works until ctx ends, and returns an
// error only if it can't go on. Tasks outlive it.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	// Its lock comes first: what another edged holds must not be taken from it.
	dir, err := openStateDir(cfg.StateDir)
	if err != nil {
		return err
	}
	parts, done, err := openParts(cfg, dir)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	b, err := newBoard(cfg, dir, parts)
	if err != nil {
		return errors.Join(err, done())
	}
	cfg.Logger.Info("edged runs", "version", cfg.Version, "node", b.keeper.Node(), "name", cfg.Name, "socket", cfg.Socket())
	return errors.Join(b.Run(ctx), done())
}

// openParts makes what a real board works with. What the board does not close
// itself, done does.
func openParts(cfg Config, dir *stateDir) (p Parts, done func() error, err error) {
	var opened []io.Closer
	done = func() error {
		var err error
		for _, c := range opened {
			if cerr := c.Close(); !errors.Is(cerr, net.ErrClosed) {
				err = errors.Join(err, cerr)
			}
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, done())
		}
	}()
	if p.Finder, err = newFinder(cfg); err != nil {
		return p, nil, err
	}
	if err := machine(cfg, &p); err != nil {
		return p, nil, err
	}
	if err := os.MkdirAll(cfg.RunDir, 0o755); err != nil {
		return p, nil, fmt.Errorf("make run directory: %w", err)
	}
	lock, err := lockDir(cfg.RunDir)
	if errors.Is(err, errInUse) {
		return p, nil, fmt.Errorf("run directory %s is in use: another edged runs on it; stop that one, or give this one its own --run-dir", cfg.RunDir)
	}
	if err != nil {
		return p, nil, fmt.Errorf("make run directory: %w", err)
	}
	opened = append(opened, lock)
	if err := host.Tmpfs(cfg.filesDir(), maxFiles); err != nil {
		return p, nil, err
	}
	if p.Packets, err = quic.Listen(cfg.Listen); err != nil {
		return p, nil, err
	}
	opened = append(opened, p.Packets)
	if p.Local, err = listenLocal(cfg.Socket()); err != nil {
		return p, nil, err
	}
	opened = append(opened, p.Local)
	socket, managed, err := chooseContainerd(cfg, dir)
	if err != nil {
		return p, nil, err
	}
	driver, err := newDriver(cfg, socket, managed)
	if err != nil {
		return p, nil, err
	}
	opened = append(opened, driver)
	p.Driver = driver
	if managed != nil {
		p.Keep = managed.Run
	}
	p.Facts = func(measureDisk bool) host.Facts {
		facts := host.Survey{StateDir: cfg.StateDir, MeasureDisk: measureDisk}.Facts()
		facts.Runtime.Managed = managed != nil
		return facts
	}
	p.Images = func(n Neighbourhood) Images {
		return image.New(image.Config{
			Client: driver.Client(), Socket: socket, Platform: p.Platform, Platforms: n.Platforms,
			Dial: n.DialBlob, Neighbours: n.Neighbours, Mirrors: cfg.RegistryMirrors, Logger: cfg.Logger.With("room", "image"),
		})
	}
	if p.Network, err = newNetwork(cfg, dir); err != nil {
		return p, nil, err
	}
	p.Logs = newLogs(cfg, dir)
	p.Interfaces = kernelInterfaces{cfg.Logger}
	return p, done, nil
}

// newNetwork makes the board's end of networks.
func newNetwork(cfg Config, dir *stateDir) (*network.Local, error) {
	pool, err := netip.ParsePrefix(cfg.TaskSubnets)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	memory, err := host.Memory()
	if err != nil {
		return nil, err
	}
	return network.New(network.Config{
		Dir: filepath.Join(cfg.RunDir, "tasks"), Pool: pool, Logger: cfg.Logger.With("room", "network"),
		Mesh: network.MeshConfig{
			KeyFile: dir.room("mesh.key"), Port: cfg.MeshPort, Memory: memory,
			Program: filepath.Join(filepath.Dir(self), "edge-wireguard"), Dir: filepath.Join(cfg.RunDir, "wireguard"), Cgroup: cfg.ownCgroup("wireguard"),
		},
	}), nil
}

// maxFiles bounds what tasks' secrets and configs take of the board's memory.
const maxFiles = 64 << 20

// newFinder hears boards by multicast, and where addresses are configured
// knows of those as well.
func newFinder(cfg Config) (discovery.Finder, error) {
	log := cfg.Logger.With("room", "discovery")
	multicast := mdns.New(mdns.Config{Log: log})
	if len(cfg.JoinAddrs) == 0 {
		return multicast, nil
	}
	given, err := static.New(static.Config{Addrs: cfg.JoinAddrs, Log: log})
	if err != nil {
		return nil, fmt.Errorf("join-addr: %w", err)
	}
	return discovery.Together(multicast, given), nil
}

// listenLocal opens the board's own socket, which root alone may connect to:
// whoever can is an operator of the fleet.
func listenLocal(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("take over %s: %w", path, err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for edgectl: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for edgectl: %w", err), listener.Close())
	}
	return listener, nil
}

// machine fills in what this board is, and what of it tasks may have.
func machine(cfg Config, p *Parts) (err error) {
	if p.MemoryTotal, err = host.Memory(); err != nil {
		return err
	}
	if p.Model, err = host.Model(); err != nil {
		return err
	}
	generic, err := api.ParseGenericResources(cfg.GenericResources)
	if err != nil {
		return fmt.Errorf("node-generic-resource: %w", err)
	}
	p.Platform, p.Devices = host.Platform(), host.Devices
	p.Resources = api.Resources{NanoCPUs: int64(host.Cores()) * 1e9, MemoryBytes: max(0, p.MemoryTotal-cfg.ReserveMemory), GenericResources: generic}
	return nil
}
