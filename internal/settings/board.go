// Package settings is the one schema of a board's configuration: what can be
// set, by which name, and what is a right value. A setting is a flag of edged
// or of `edgectl flash`, an environment variable, a key of a configuration file
// and a key of the card's edge.yaml, all of the same name.
//
// It reads and judges values; it does not act on them, and knows no board.
package settings

import (
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
)

// Board are the settings of edged. The zero value is not its defaults: those
// are what Flags sets.
type Board struct {
	Name                string
	FleetKey, JoinToken string
	JoinAddrs           []string
	Listen, Advertise   string
	Labels              map[string]string
	StateDir, RunDir    string
	Containerd          string
	Namespace           string
	CgroupParent        string
	TaskSubnets         string
	MeshPort            uint16
	ReserveMemory       int64
	GenericResources    []string
	RegistryMirrors     map[string]string
	Consoles            []string
	Trouble             string
	BootID              string
	LogLevel            slog.Level
}

// Flags are the settings of edged, bound to b, with their defaults.
func (b *Board) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("edged", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&b.Name, "name", "", "hostname in the fleet (default: the system's)")
	f.StringVar(&b.FleetKey, "fleet-key", "", "the fleet's `key`; boards that hold it find each other and form one fleet")
	f.StringVar(&b.JoinToken, "join-token", "", "`token` of the fleet to join")
	f.StringSliceVar(&b.JoinAddrs, "join-addr", nil, "`host[:port]` of a manager to join at, with join-token; several with commas, or a list in the file")
	f.StringVar(&b.Listen, "listen", fmt.Sprintf(":%d", api.DefaultPort), "`[host]:port`, the one UDP port")
	f.StringVar(&b.Advertise, "advertise-addr", "", "`host[:port]` where others reach this board (default: its interfaces' addresses)")
	f.StringToStringVar(&b.Labels, "label", nil, "node labels as `key=value`, taken up when the board joins; several with commas, or a mapping in the file")
	f.StringVar(&b.StateDir, "state-dir", "/var/lib/edgeswarm", "`folder` of what must last")
	f.StringVar(&b.RunDir, "run-dir", "/run/edgeswarm", "`folder` of sockets and namespaces; emptied by a reboot")
	f.StringVar(&b.Containerd, "containerd", "auto", "`path` of containerd's socket; managed, for one that edged starts and keeps; or auto: the system's if it runs when the board first starts, else managed")
	f.StringVar(&b.Namespace, "namespace", "edgeswarm", "containerd namespace for our containers")
	f.StringVar(&b.CgroupParent, "cgroup-parent", "/edgeswarm", "`path` where tasks' cgroups are made")
	f.StringVar(&b.TaskSubnets, "task-subnets", "10.210.0.0/16", "`prefix` to take the board's own task subnet from")
	f.Uint16Var(&b.MeshPort, "mesh-port", 51820, "the one UDP `port` of encrypted networks, where there is one")
	f.Int64Var(&b.ReserveMemory, "reserve-memory", 64<<20, "`bytes` kept from tasks for the system")
	f.StringSliceVar(&b.GenericResources, "node-generic-resource", nil, "what the board has to give to tasks, as `name=value`: gpu=UUID1 and gpu=UUID2 by name, or ssd=3 by amount; several with commas, or a list in the file")
	f.StringToStringVar(&b.RegistryMirrors, "registry-mirror", nil, "where a registry's images are asked for first, as `registry=url`; several with commas, or a mapping in the file")
	f.StringSliceVar(&b.Consoles, "console", nil, "`terminals` such as /dev/tty1 to show the board's name, address, fleet and state on")
	f.StringVar(&b.Trouble, "trouble", "", "what is wrong with the board, for others to see")
	f.StringVar(&b.BootID, "boot-id", "", "`ID` that tells one boot from another (default: the kernel's)")
	f.TextVar(&b.LogLevel, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	for _, name := range []string{"label", "registry-mirror"} {
		f.Lookup(name).DefValue = "" // pflag's own is []
	}
	f.Lookup("trouble").Hidden = true // edgeboot's to say
	return f
}
