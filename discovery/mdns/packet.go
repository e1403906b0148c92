package mdns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

const (
	service = "_edgeswarm._udp"
	domain  = "local."
	// serviceName is what is browsed for; instances are <node ID>.serviceName.
	serviceName = service + "." + domain
)

// Limits of one packet and of all that is remembered, so that a flood of
// invented boards costs a bounded amount of memory.
const (
	maxPacket      = 9000 // RFC 6762, 17
	maxRecords     = 256
	maxBoards      = 1024
	maxBoardAddrs  = 8  // of a board on one interface
	maxBoardIfaces = 16 // on which one board is heard
)

// query is the packet that asks who is there.
func query() ([]byte, error) {
	m := new(dns.Msg)
	m.Question = []dns.Question{{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	raw, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack query: %w", err)
	}
	return raw, nil
}

// heard is what one packet says of one board. Parts it does not speak of are nil.
type heard struct {
	node    api.NodeID
	goodbye bool
	port    uint16                  // 0: not said
	text    *discovery.Announcement // without Node and Port
	addrs   []netip.Addr            // without zones; empty: not said
}

// packet is a parsed mDNS message as far as it concerns us.
type packet struct {
	asks   bool // somebody else asks who is there
	boards []heard
}

// parse reads a packet from the network. It errs on what is not DNS; what is
// DNS but does not concern us, or is a record that makes no sense, is passed over.
func parse(raw []byte) (packet, error) {
	var out packet
	if len(raw) > maxPacket {
		return out, fmt.Errorf("a packet of %d bytes", len(raw))
	}
	msg := new(dns.Msg)
	if err := msg.Unpack(raw); err != nil {
		return out, fmt.Errorf("unpack: %w", err)
	}
	if !msg.Response {
		for _, q := range msg.Question {
			out.asks = out.asks || (strings.EqualFold(q.Name, serviceName) && (q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY))
		}
	}
	// A starting responder's probe is a query that carries its records in the
	// authority section: half a second sooner than its first announcement.
	records := append(append(msg.Answer, msg.Ns...), msg.Extra...)
	if len(records) > maxRecords {
		return out, fmt.Errorf("a packet of %d records", len(records))
	}
	out.boards = collect(records)
	return out, nil
}

// collect sorts records by the board that they speak of.
func collect(records []dns.RR) []heard {
	var order []api.NodeID
	found := make(map[api.NodeID]*heard)
	board := func(instance string) *heard {
		id, ok := instanceNode(instance)
		if !ok {
			return nil
		}
		if found[id] == nil {
			found[id] = &heard{node: id}
			order = append(order, id)
		}
		return found[id]
	}
	hosts := make(map[string]*heard) // by the SRV record's target
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.SRV:
			if b := board(rr.Hdr.Name); b != nil {
				b.port, b.goodbye = rr.Port, b.goodbye || rr.Hdr.Ttl == 0
				hosts[strings.ToLower(rr.Target)] = b
			}
		case *dns.TXT:
			if b := board(rr.Hdr.Name); b != nil {
				b.goodbye = b.goodbye || rr.Hdr.Ttl == 0
				if a, err := decodeText(rr.Txt); err == nil {
					b.text = &a
				}
			}
		}
	}
	for _, rr := range records {
		addr, name := address(rr)
		if b := hosts[strings.ToLower(name)]; b != nil && usable(addr) && len(b.addrs) < maxBoardAddrs {
			b.addrs = append(b.addrs, addr)
		}
	}
	out := make([]heard, 0, len(order))
	for _, id := range order {
		out = append(out, *found[id])
	}
	return out
}

func address(rr dns.RR) (netip.Addr, string) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ := netip.AddrFromSlice(rr.A)
		return addr.Unmap(), rr.Hdr.Name
	case *dns.AAAA:
		addr, _ := netip.AddrFromSlice(rr.AAAA)
		return addr, rr.Hdr.Name
	default:
		return netip.Addr{}, ""
	}
}

func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && (a.IsGlobalUnicast() || a.IsLinkLocalUnicast())
}

// instanceNode reads the node ID out of an instance's name.
func instanceNode(name string) (api.NodeID, bool) {
	label, rest, _ := strings.Cut(name, ".")
	label = strings.ToLower(label)
	return api.NodeID(label), strings.EqualFold(rest, serviceName) && api.IsID(label)
}
