package flagvalue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Port reads a published port as Docker writes it: "mode=host,target=80,
// published=8080,protocol=tcp", or the short form "8080:80/tcp". The short
// form means ingress, as in Swarm, and ingress is refused while it isn't there.
func Port(s string) (api.PortConfig, error) {
	p, err := parsePort(s)
	if err != nil {
		return p, err
	}
	if p.TargetPort == 0 {
		return p, errors.New("it has no target port: say which port the task listens on, as in mode=host,target=80,published=8080")
	}
	if p.PublishMode == api.PublishIngress {
		long := "mode=host,target=" + strconv.Itoa(int(p.TargetPort))
		if p.PublishedPort != 0 {
			long += ",published=" + strconv.Itoa(int(p.PublishedPort))
		}
		if p.Protocol == api.UDP {
			long += ",protocol=udp"
		}
		return p, fmt.Errorf("it means ingress, one port on every board, which comes later: publish it on the boards that run a task with %s", long)
	}
	return p, nil
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
		default:
			return p, fmt.Errorf("%q is not known in a published port: use mode, target, published and protocol", f.Key)
		}
		if err != nil {
			return p, fmt.Errorf("%s=%s: %w", f.Key, f.Value, err)
		}
	}
	return p, nil
}

func shortPort(s string, p *api.PortConfig) (err error) {
	number, protocol, has := strings.Cut(s, "/")
	if has {
		if p.Protocol, err = Choice(api.TCP, api.UDP)(protocol); err != nil {
			return err
		}
	}
	if published, target, both := strings.Cut(number, ":"); both {
		if strings.Contains(target, ":") {
			return errors.New("a service's port can't be bound to one address: leave the address out")
		}
		if p.PublishedPort, err = portNumber(published); err != nil {
			return err
		}
		number = target
	}
	p.TargetPort, err = portNumber(number)
	return err
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
