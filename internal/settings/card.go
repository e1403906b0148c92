package settings

import (
	"github.com/spf13/pflag"
)

// Card are the settings of a board that boots our image, beside those of its
// edged: the keys that only edge.yaml and `edgectl flash` have.
type Card struct {
	Board Board
	// Interface is the one that Address and the others are for (default: wlan0
	// where there is a WiFi network, else eth0).
	Interface    string
	Address      string // with the length of its prefix; "" for DHCP
	Gateway      string
	DNS          []string
	WiFi         string // the network's name
	WiFiPassword string
	WiFiCountry  string
	TimeServers  []string
	SSHKeys      []string
	Shell        bool
	OnDamage     string
}

// What a board does with a data partition that can't be mended without a loss.
const (
	DamageWait   = "wait"
	DamageRepair = "repair"
	DamageErase  = "erase"
)

// cardBoard are the settings of edged that a card may have: the others are the
// image's own affair.
var cardBoard = []string{"fleet-key", "join-token", "join-addr", "name", "label", "registry-mirror", "advertise-addr", "listen", "task-subnets", "mesh-port", "reserve-memory", "node-generic-resource", "log-level"}

// Flags are the settings of a card, bound to c, with their defaults.
func (c *Card) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("edge.yaml", pflag.ContinueOnError)
	f.SortFlags = false
	board := c.Board.Flags()
	for _, name := range cardBoard {
		f.AddFlag(board.Lookup(name))
	}
	f.Lookup("name").Usage = "the board's hostname (default: edge- and the end of its serial number)"
	f.StringVar(&c.WiFi, "wifi", "", "`name` of the WiFi network")
	f.StringVar(&c.WiFiPassword, "wifi-password", "", "`password` of the WiFi network; none for an open one")
	f.StringVar(&c.WiFiCountry, "wifi-country", "", "`country` where the board is, two letters: it decides on the channels")
	f.StringVar(&c.Address, "address", "", "fixed `address`, such as 192.0.2.10/24 (default: by DHCP)")
	f.StringVar(&c.Gateway, "gateway", "", "`address` of the router, with a fixed address")
	f.StringSliceVar(&c.DNS, "dns", nil, "`addresses` of name servers, beside those that DHCP tells")
	f.StringVar(&c.Interface, "interface", "", "`interface` that address, gateway and dns are for (default: wlan0 with wifi, else eth0)")
	f.StringSliceVar(&c.TimeServers, "time-server", nil, "`hosts` to ask for the time (default: those of DHCP, and Debian's)")
	f.StringArrayVar(&c.SSHKeys, "ssh-key", nil, "public `key` that may log in as root by SSH; several times, or a list in the file")
	f.BoolVar(&c.Shell, "console-shell", false, "a root shell on the board's second screen and its serial line, for whoever stands before it")
	f.StringVar(&c.OnDamage, "on-damage", DamageWait, "`what` to do with a data partition that can't be mended without a loss: wait, repair or erase")
	return f
}
