// Package router is the box at the end of an emulated LAN: it gives boards
// their addresses by DHCP, and lets the test in, as a router's port forwarding
// does. Nothing of the LAN gets out through it, so boards have no internet.
//
// It is QEMU's own user-space network stack (libslirp) in a QEMU without a
// machine, plugged into our switch: no root, and no stack of our own.
package router

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/edgeswarm/edgeswarm/qemu-tests/machine"
)

// Prefix is the LAN's; the router has the address Address, and DHCP gives out the
// 16 from 10.0.2.15 on.
var (
	Prefix  = netip.MustParsePrefix("10.0.2.0/24")
	Address = netip.MustParseAddr("10.0.2.2")
)

// Router forwards. It is safe for concurrent use.
type Router struct {
	qemu *machine.Process

	mu        sync.Mutex
	forwarded map[netip.AddrPort]string
}

// Start plugs a router into the switch's port at socket. It ends with the
// context. dir is for QEMU's files.
func Start(ctx context.Context, dir, socket string) (*Router, error) {
	qemu, err := machine.Start(ctx, machine.Config{Program: "qemu-system-aarch64", Dir: dir, Args: []string{
		"-M", "none", "-display", "none", "-nodefaults",
		"-netdev", "user,id=lan,restrict=on",
		"-netdev", "stream,id=switch,server=off,addr.type=unix,addr.path=" + socket,
		"-netdev", "hubport,hubid=0,id=port0,netdev=lan",
		"-netdev", "hubport,hubid=0,id=port1,netdev=switch",
	}})
	if err != nil {
		return nil, fmt.Errorf("start the LAN's router: %w", err)
	}
	return &Router{qemu: qemu, forwarded: map[netip.AddrPort]string{}}, nil
}

// Wait returns when the router is gone, after its context's end.
func (r *Router) Wait() error { return r.qemu.Kill() }

// Forward makes a TCP port of a board reachable at a loopback address of this
// machine, which it returns. Asked again, it returns the same.
func (r *Router) Forward(to netip.AddrPort) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, done := r.forwarded[to]; done {
		return at, nil
	}
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return "", fmt.Errorf("forward to %s: %w", to, err)
		}
		said, err := r.qemu.Say(fmt.Sprintf("hostfwd_add lan tcp:127.0.0.1:%d-%s:%d", port, to.Addr(), to.Port()))
		if err != nil {
			return "", fmt.Errorf("forward to %s: %w", to, err)
		}
		if said = strings.TrimSpace(said); said == "" {
			at := fmt.Sprintf("127.0.0.1:%d", port)
			r.forwarded[to] = at
			return at, nil
		}
		if attempt == 10 { // somebody else may take a port that was just free, not ten in a row
			return "", fmt.Errorf("forward to %s: %s", to, said)
		}
	}
}

// freePort is a port of the loopback interface that nobody has.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
