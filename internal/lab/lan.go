package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// LaptopIP is the LAN's own address: where a person's laptop would be.
const LaptopIP = "10.77.0.254"

// makeLAN makes the namespace with the bridge that all boards hang on. Frames
// between two boards pass a rule table, so that a link can be cut.
func (l *Lab) makeLAN(ctx context.Context) error {
	for _, args := range [][]string{
		{"ip", "netns", "add", l.lanNS()},
		{"ip", "-n", l.lanNS(), "link", "set", "lo", "up"},
		{"ip", "-n", l.lanNS(), "link", "add", "lan", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"},
		{"ip", "-n", l.lanNS(), "addr", "add", LaptopIP + "/24", "dev", "lan"},
		{"ip", "-n", l.lanNS(), "link", "set", "lan", "up"},
		append(l.inLAN(), "nft", "add table bridge cut; add chain bridge cut frames { type filter hook forward priority 0; }"),
	} {
		if _, err := run(ctx, args...); err != nil {
			return fmt.Errorf("make the lab's LAN: %w", err)
		}
	}
	return nil
}

func (l *Lab) inLAN() []string { return []string{"nsenter", "--net=/run/netns/" + l.lanNS()} }

// LAN runs a program as a laptop on the LAN would, and returns what it printed.
func (l *Lab) LAN(ctx context.Context, args ...string) (string, error) {
	return run(ctx, append(l.inLAN(), args...)...)
}

// Cut stops frames between every board of a and every other board, both ways,
// until Heal. The laptop still sees all.
func (l *Lab) Cut(ctx context.Context, a ...Board) error {
	for _, b := range a {
		port := "port" + fmt.Sprint(b.Index)
		inside := ""
		for i, other := range a {
			if i > 0 {
				inside += ", "
			}
			inside += "port" + fmt.Sprint(other.Index)
		}
		for _, rule := range []string{
			fmt.Sprintf("iifname %s oifname != { %s, lan } drop", port, inside),
			fmt.Sprintf("oifname %s iifname != { %s, lan } drop", port, inside),
		} {
			if _, err := l.LAN(ctx, "nft", "add rule bridge cut frames "+rule); err != nil {
				return fmt.Errorf("cut %s off: %w", b.Name(), err)
			}
		}
	}
	return nil
}

// Heal takes back every Cut.
func (l *Lab) Heal(ctx context.Context) error {
	if _, err := l.LAN(ctx, "nft", "flush chain bridge cut frames"); err != nil {
		return fmt.Errorf("heal the LAN: %w", err)
	}
	return nil
}

// Plug makes the board's namespace and links it to the LAN.
func (b Board) Plug(ctx context.Context) error {
	for _, dir := range []string{b.RunDir(), b.StateDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("plug in %s: %w", b.Name(), err)
		}
	}
	ns, lan, port := b.netns(), b.lab.lanNS(), "port"+fmt.Sprint(b.Index)
	for _, args := range [][]string{
		{"ip", "netns", "add", ns},
		{"ip", "-n", ns, "link", "set", "lo", "up"},
		{"ip", "-n", lan, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"ip", "-n", lan, "link", "set", port, "master", "lan", "up"},
		{"ip", "-n", ns, "addr", "add", b.IP() + "/24", "dev", "eth0"},
		{"ip", "-n", ns, "link", "set", "eth0", "up"},
		{"ip", "-n", ns, "route", "add", "default", "via", LaptopIP},
	} {
		if _, err := run(ctx, args...); err != nil {
			return fmt.Errorf("plug in %s: %w", b.Name(), err)
		}
	}
	if err := b.writeCard(); err != nil {
		return fmt.Errorf("plug in %s: %w", b.Name(), err)
	}
	return os.WriteFile(filepath.Join(b.RunDir(), "containerd.toml"), []byte(b.containerdConfig()), 0o644)
}

// containerdConfig is the least that runs tasks: no CRI, nothing on TCP.
func (b Board) containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = %q
# As edged has it for its own: a slow shim is not a dead one.
[timeouts]
  "io.containerd.timeout.shim.load" = "1m"
  "io.containerd.timeout.task.state" = "10s"
`, filepath.Join(b.StateDir(), "containerd"), filepath.Join(b.RunDir(), "containerd"), b.Containerd())
}
