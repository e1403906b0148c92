package flagvalue

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Port reads a published port as Docker writes it: "published=8080,target=80,
// protocol=tcp,mode=ingress", or the short form "8080:80/tcp". Before the ports
// there may be an address or subnet of the boards', in brackets or not; the long
// form calls it address.
func Port(s string) (api.PortConfig, error) {
	p, err := parsePort(s)
	if err == nil && p.TargetPort == 0 {
		err = errors.New("it has no target port: say which port the task listens on, as in published=8080,target=80")
	}
	return p, err
}

// TargetPort reads what names a port to unpublish: "80", "80/udp", or a form
// that Port reads. The protocol is "" unless it is given.
func TargetPort(s string) (api.PortConfig, error) {
	if !strings.Contains(s, "=") {
		number, protocol, has := strings.Cut(s, "/")
		if i := strings.LastIndex(number, ":"); i >= 0 {
			number = number[i+1:]
		}
		n, err := portNumber(number)
		p := api.PortConfig{TargetPort: n}
		if err == nil && has {
			p.Protocol, err = Choice(api.TCP, api.UDP)(protocol)
		}
		return p, err
	}
	p, err := parsePort(s)
	if err == nil && p.TargetPort == 0 {
		err = errors.New("it has no target port: give the port inside the task, as in 80 or 80/udp")
	}
	return api.PortConfig{TargetPort: p.TargetPort, Protocol: p.Protocol}, err
}

func parsePort(s string) (api.PortConfig, error) {
	p := api.PortConfig{Protocol: api.TCP, PublishMode: api.PublishIngress}
	if !strings.Contains(s, "=") {
		return p, shortPort(s, &p)
	}
	pairs, err := fields(s)
	if err != nil {
		return p, err
	}
	for _, f := range pairs {
		switch f.Key {
		case "mode":
			p.PublishMode, err = Choice(api.PublishHost, api.PublishIngress)(f.Value)
		case "target":
			p.TargetPort, err = portNumber(f.Value)
		case "published":
			p.PublishedPort, err = portNumber(f.Value)
		case "protocol":
			p.Protocol, err = Choice(api.TCP, api.UDP)(f.Value)
		case "address":
			p.Address, err = boardAddress(f.Value)
		default:
			return p, fmt.Errorf("%q is not known in a published port: use mode, target, published, protocol and address", f.Key)
		}
		if err != nil {
			return p, fmt.Errorf("%s=%s: %w", f.Key, f.Value, err)
		}
	}
	return p, nil
}

func shortPort(s string, p *api.PortConfig) (err error) {
	last := strings.LastIndex(s, ":") // before it there may be an address with a slash
	target, protocol, has := strings.Cut(s[last+1:], "/")
	if has {
		if p.Protocol, err = Choice(api.TCP, api.UDP)(protocol); err != nil {
			return err
		}
	}
	if last >= 0 {
		published := s[:last]
		if i := strings.LastIndex(published, ":"); i >= 0 {
			if p.Address, err = boardAddress(strings.Trim(published[:i], "[]")); err != nil {
				return err
			}
			published = published[i+1:]
		}
		if published != "" || !p.Address.IsValid() {
			if p.PublishedPort, err = portNumber(published); err != nil {
				return err
			}
		}
	}
	p.TargetPort, err = portNumber(target)
	return err
}

// boardAddress reads which of the boards' addresses are meant: one, or a subnet.
func boardAddress(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() || p.Masked() != p {
		return p, fmt.Errorf("%q is not an IPv4 address or subnet of the boards, such as 192.168.1.0/24", s)
	}
	return p, nil
}

func portNumber(s string) (uint16, error) {
	if strings.Contains(s, "-") {
		return 0, errors.New("ranges of ports are not known: publish each port by itself")
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port: give a number from 1 to 65535", s)
	}
	return uint16(n), nil
}
