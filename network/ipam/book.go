package ipam

import (
	"net/netip"
	"slices"

	"github.com/edgeswarm/edgeswarm/api"
)

// Sizes of blocks, as prefix lengths: a subnet is cut into 32 blocks or more of
// at most 32 addresses, and a small one into fewer, of at least 8.
const (
	largestBlock  = 27
	smallestBlock = 29
	cut           = 5 // bits
	// In the ingress network a board has one address, its own.
	ingressBlock = 32
)

// rest is how many addresses of a block are given back after one before that
// one is given again, while there is another way.
const rest = 8

// Book hands out one network's addresses. It is used by one goroutine, for one
// plan.
type Book struct {
	network api.Network
	used    map[netip.Addr]bool
	changed bool
}

// Open begins with a network as it is stored, and the addresses of it that are
// in use. Blocks of nodes that are no members any more are given up.
func Open(n *api.Network, used map[netip.Addr]bool, member func(api.NodeID) bool) *Book {
	b := &Book{network: *n, used: map[netip.Addr]bool{}}
	for addr := range used {
		b.used[addr] = true
	}
	b.network.Blocks = nil
	for _, block := range n.Blocks {
		if block.Node != "" && !member(block.Node) {
			continue
		}
		block.Released = slices.DeleteFunc(slices.Clone(block.Released), func(a netip.Addr) bool { return b.used[a] })
		for i := range block.Given { // what was given back since the last time is noted now
			if addr := host(block, i); !b.used[addr] && !slices.Contains(block.Released, addr) {
				block.Released = append(block.Released, addr)
			}
		}
		b.network.Blocks = append(b.network.Blocks, block)
	}
	return b
}

// Take hands out an address for a task on a node, or with node "" for a
// service; false if the network has none left. Of those that were in use before
// it is the one that was given back the longest time ago.
func (b *Book) Take(node api.NodeID) (netip.Addr, bool) {
	own := b.blocksOf(node)
	for _, block := range own {
		if block.Given < b.capacity(block.Prefix) {
			return b.fresh(block), true
		}
	}
	longest := longestQueue(own)
	if longest != nil && len(longest.Released) > min(rest, b.capacity(longest.Prefix)/2) {
		return b.again(longest), true
	}
	// Another block keeps addresses from being given again at once; but what others
	// may need is not spent on that.
	if longest == nil || b.unowned() > b.blocks()/2 {
		if block := b.claim(node); block != nil {
			return b.fresh(block), true
		}
	}
	if longest != nil {
		return b.again(longest), true
	}
	return netip.Addr{}, false
}

// Own gives a board its own address in the network, if it has none yet and there
// is one left.
func (b *Book) Own(node api.NodeID) {
	if len(b.blocksOf(node)) == 0 && b.unowned() > 0 && b.claim(node) != nil {
		b.changed = true
	}
}

// Network is the network with what was handed out noted; changed tells whether
// anything was.
func (b *Book) Network() (n *api.Network, changed bool) {
	next := b.network
	return &next, b.changed
}

func (b *Book) fresh(block *api.NetworkBlock) netip.Addr {
	block.Given++
	return b.give(host(*block, block.Given-1))
}

func (b *Book) again(block *api.NetworkBlock) netip.Addr {
	addr := block.Released[0]
	block.Released = slices.Clone(block.Released[1:])
	return b.give(addr)
}

func (b *Book) give(addr netip.Addr) netip.Addr {
	b.used[addr], b.changed = true, true
	return addr
}

// claim gives an owner a block that has none, else one that its owner has no
// use for; nil if there is neither.
func (b *Book) claim(node api.NodeID) *api.NetworkBlock {
	total := b.blocks()
	owned := map[netip.Prefix]bool{}
	for _, block := range b.network.Blocks {
		owned[block.Prefix] = true
	}
	for i := range total {
		at := (b.network.NextBlock + i) % total
		if prefix := nth(b.network.Subnet, b.blockBits(), at); !owned[prefix] {
			b.network.NextBlock = (at + 1) % total
			return b.add(prefix, node)
		}
	}
	for i, block := range b.network.Blocks {
		if block.Node != node && b.idle(i) {
			b.network.Blocks = slices.Delete(b.network.Blocks, i, i+1)
			return b.add(block.Prefix, node)
		}
	}
	return nil
}

func (b *Book) add(prefix netip.Prefix, node api.NodeID) *api.NetworkBlock {
	b.network.Blocks = append(b.network.Blocks, api.NetworkBlock{Prefix: prefix, Node: node})
	return &b.network.Blocks[len(b.network.Blocks)-1]
}

// idle reports whether a block can be taken from its owner: nothing of it is in
// use, and neither is its first address, by which the owner's tasks reach others.
func (b *Book) idle(i int) bool {
	block := b.network.Blocks[i]
	first := !slices.ContainsFunc(b.network.Blocks[:i], func(o api.NetworkBlock) bool { return o.Node == block.Node })
	for _, other := range b.network.Blocks {
		if other.Prefix != block.Prefix && (!first || other.Node != block.Node) {
			continue
		}
		if other.Given > len(other.Released) {
			return false
		}
	}
	return true
}

func (b *Book) blocksOf(node api.NodeID) []*api.NetworkBlock {
	var own []*api.NetworkBlock
	for i := range b.network.Blocks {
		if b.network.Blocks[i].Node == node {
			own = append(own, &b.network.Blocks[i])
		}
	}
	return own
}

// longestQueue is the block with the most addresses that were given back, nil
// if none was.
func longestQueue(blocks []*api.NetworkBlock) *api.NetworkBlock {
	var longest *api.NetworkBlock
	for _, block := range blocks {
		if len(block.Released) > 0 && (longest == nil || len(block.Released) > len(longest.Released)) {
			longest = block
		}
	}
	return longest
}

func (b *Book) blockBits() int {
	if b.network.Spec.Ingress {
		return ingressBlock
	}
	return min(max(b.network.Subnet.Bits()+cut, largestBlock), smallestBlock)
}

func (b *Book) blocks() int  { return 1 << (b.blockBits() - b.network.Subnet.Bits()) }
func (b *Book) unowned() int { return b.blocks() - len(b.network.Blocks) }

// capacity is how many addresses of a block can be handed out: all but the
// first, which is its owner's, and the subnet's last, which some programs take
// for a broadcast.
func (b *Book) capacity(block netip.Prefix) int {
	size := 1 << (32 - block.Bits())
	if nth(b.network.Subnet, block.Bits(), b.blocks()-1) == block {
		size--
	}
	return size - 1
}

// host is a block's address number i of those that can be handed out.
func host(block api.NetworkBlock, i int) netip.Addr { return offset(block.Prefix.Addr(), i+1) }
