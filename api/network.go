package api

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
)

// NetworkID names a network.
type NetworkID string

// NetworkDriver is how a network's packets go from board to board.
type NetworkDriver string

// Network drivers.
const (
	// DriverVXLAN sends them in plain, in UDP: for LANs that are trusted.
	DriverVXLAN NetworkDriver = "vxlan"
	// DriverMesh encrypts them.
	DriverMesh NetworkDriver = "mesh"
)

// DefaultNetworkPool is where subnets of networks come from that were given none.
var DefaultNetworkPool = netip.MustParsePrefix("10.224.0.0/11")

// Sizes of subnets, as prefix lengths.
const (
	// DefaultNetworkBits is the size of a subnet that the fleet picks: 4,096 addresses.
	DefaultNetworkBits = 20
	minNetworkBits     = 8
	maxNetworkBits     = 26
)

// MaxVNI is the highest number that a VXLAN header holds.
const MaxVNI = 1<<24 - 1

// Network lets tasks on any boards reach each other by addresses and names of
// their own, and nobody else.
type Network struct {
	ID NetworkID
	Meta
	Spec NetworkSpec
	// VNI numbers the network, of 1..1<<24-1: no two of the fleet have the same.
	VNI uint32
	// Subnet is the one asked for, or picked.
	Subnet netip.Prefix
	// Blocks are the parts of the subnet that have an owner. Only the leader's
	// planning changes them: see room network/ipam.
	Blocks []NetworkBlock `json:",omitempty"`
	// NextBlock is where to look for the next block that has no owner, counted
	// from the subnet's beginning: one given back is given again last.
	NextBlock int `json:",omitempty"`
}

// NetworkSpec is what the user declares.
type NetworkSpec struct {
	Annotations
	Driver NetworkDriver
	// Subnet in IPv4; zero lets the fleet pick one that collides with nothing.
	Subnet netip.Prefix `json:",omitzero"`
	// Internal is set if tasks that are on no other network get no way out.
	Internal bool `json:",omitempty"`
	// Ingress is set of the one network by which boards hand on what is sent to
	// published ports. It has an address for each board, and no tasks.
	Ingress bool `json:",omitempty"`
}

// MeshEnd is a board's end of the links that carry networks of driver mesh.
type MeshEnd struct {
	// Keys are its public keys (X25519): the one in use, and behind it, while keys
	// are turned, the one that will be.
	Keys [][]byte `json:",omitempty"`
	// Port is where it is reached, in UDP, at the board's addresses.
	Port uint16 `json:",omitempty"`
	// Trouble is why the board can't carry such networks, "" if it can.
	Trouble string `json:",omitempty"`
}

// FleetMesh is what the fleet tells a board of its own end.
type FleetMesh struct {
	// Turns counts how often the operator wanted all boards to take new keys.
	Turns uint64 `json:",omitempty"`
	// Keys are the board's own as the others are told them.
	Keys [][]byte `json:",omitempty"`
}

// Equal reports whether two ends are one.
func (m MeshEnd) Equal(o MeshEnd) bool {
	return m.Port == o.Port && m.Trouble == o.Trouble && slices.EqualFunc(m.Keys, o.Keys, bytes.Equal)
}

// IngressName is the network's that is made with the first published port,
// unless there is one.
const IngressName = "ingress"

// NetworkBlock is a part of a network's subnet that one board gives to its
// tasks.
type NetworkBlock struct {
	Prefix netip.Prefix
	// Node whose tasks have it; "" is for addresses of services.
	Node NodeID `json:",omitempty"`
	// Given counts the addresses that were handed out at least once, from the
	// beginning; Released are those of them that were given back, longest ago first.
	Given    int          `json:",omitempty"`
	Released []netip.Addr `json:",omitempty"`
}

// NetworkAddr is an address in one network.
type NetworkAddr struct {
	Network NetworkID
	Addr    netip.Addr
}

// NetworkInfo is a network as a board with tasks of it knows it.
type NetworkInfo struct {
	ID       NetworkID
	Name     string
	Driver   NetworkDriver
	VNI      uint32
	Subnet   netip.Prefix
	Internal bool
	Ingress  bool `json:",omitempty"`
	// Blocks that have an owner, in the order in which each owner was given its own.
	Blocks []BlockOwner
}

// BlockOwner says whose a part of a network's subnet is; "" is for services.
type BlockOwner struct {
	Prefix netip.Prefix
	Node   NodeID
}

// Gateway is the address of a board in the network, by which its tasks reach
// the others: the first of its first block. It is invalid without a block.
func (n NetworkInfo) Gateway(node NodeID) netip.Addr {
	for _, b := range n.Blocks {
		if b.Node == node && node != "" {
			return b.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// Endpoint is a service as tasks on one network know it, and in the ingress
// network, boards.
type Endpoint struct {
	Network NetworkID
	Service ServiceID
	Name    string
	// Aliases are further names of the service in the network.
	Aliases []string `json:",omitempty"`
	// VirtualIP balances over the backends; invalid if the service has none.
	VirtualIP netip.Addr `json:",omitzero"`
	// Ports are what is published on every board: of the ingress network only.
	Ports []PortConfig `json:",omitempty"`
	// Backends are the tasks that serve now, in order of ID.
	Backends []Backend `json:",omitempty"`
}

// Backend is a task that serves. It has an address and a name where tasks are on
// the network.
type Backend struct {
	Task     TaskID
	Node     NodeID
	Addr     netip.Addr `json:",omitzero"`
	Hostname string     `json:",omitempty"`
}

// Key returns the network's ID.
func (n *Network) Key() string { return string(n.ID) }

// Head returns the object's metadata.
func (n *Network) Head() *Meta { return &n.Meta }

// Info is the network as boards know it.
func (n *Network) Info() *NetworkInfo {
	info := &NetworkInfo{ID: n.ID, Name: n.Spec.Name, Driver: n.Spec.Driver, VNI: n.VNI, Subnet: n.Subnet, Internal: n.Spec.Internal, Ingress: n.Spec.Ingress}
	for _, b := range n.Blocks {
		info.Blocks = append(info.Blocks, BlockOwner{Prefix: b.Prefix, Node: b.Node})
	}
	return info
}

// reservedNetworks are names that mean something else, here or to Docker's users.
var reservedNetworks = []string{NetworkHost, "none", "bridge"}

// Defaults returns the spec with every default written out.
func (s NetworkSpec) Defaults() NetworkSpec {
	if s.Driver == "" {
		s.Driver = DriverMesh
	}
	return s
}

// Validate reports the first thing that is wrong with a network to be, as an
// Error of kind Invalid that names the field.
func (s NetworkSpec) Validate() error {
	var c check
	c.is("Name", checkName(s.Name))
	c.that(!slices.Contains(reservedNetworks, s.Name), "Name", "%q is reserved: choose another", s.Name)
	c.that(s.Ingress || s.Name != IngressName, "Name", "%q is the name of the network of published ports: choose another, or say --ingress if that is what it is for", s.Name)
	c.that(!s.Ingress || !s.Internal, "Internal", "the network of published ports has no tasks to keep in")
	c.labels("Labels", s.Labels)
	c.that(s.Driver == DriverMesh || s.Driver == DriverVXLAN, "Driver", "%q is neither mesh, which encrypts what goes between boards, nor vxlan, which sends it in plain", s.Driver)
	if s.Subnet.IsValid() {
		c.is("Subnet", checkSubnet(s.Subnet))
	}
	return c.err
}

// checkSubnet accepts what tasks' addresses may come from.
func checkSubnet(p netip.Prefix) error {
	switch addr := p.Addr(); {
	case !addr.Is4():
		return fmt.Errorf("%s is not of IPv4", p)
	case p.Masked() != p:
		return fmt.Errorf("%s is not a subnet: it has bits behind its mask; %s is one", p, p.Masked())
	case addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), addr.As4()[0] >= 240, addr.As4()[0] == 0:
		return fmt.Errorf("%s is no range for hosts: take one such as 10.9.0.0/16", p)
	case p.Bits() < minNetworkBits || p.Bits() > maxNetworkBits:
		return fmt.Errorf("%s is not between /%d and /%d", p, minNetworkBits, maxNetworkBits)
	default:
		return nil
	}
}

// networks checks what tasks are attached to.
func (c *check) networks(at string, attached []NetworkAttachment) {
	seen := map[string]bool{}
	for _, n := range attached {
		c.that(n.Target != "", at+"Networks", "a network has no name")
		c.that(!seen[n.Target], at+"Networks", "%s is named twice", n.Target)
		seen[n.Target] = true
		for _, alias := range n.Aliases {
			c.that(n.Target != NetworkHost, at+"Networks", "the host's network has no aliases")
			c.is(at+"Networks", checkName(alias))
		}
	}
	c.that(!seen[NetworkHost] || len(attached) == 1, at+"Networks", "the board's own network (host) can't be combined with others")
	c.that(len(attached) <= maxTaskNetworks, at+"Networks", "%d networks are more than the %d that a task may be on", len(attached), maxTaskNetworks)
}

// maxTaskNetworks is the most networks that a task may be on.
const maxTaskNetworks = 9
