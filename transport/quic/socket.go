package quic

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen opens the UDP socket for an address as net.ListenPacket reads it:
// ":2377" is every address of the board, IPv4 and IPv6. Its buffers are
// enlarged by the transport, past the system's limit where root runs it.
func Listen(addr string) (net.PacketConn, error) {
	pc, err := net.ListenPacket("udp", addr)
	switch {
	case err == nil:
		return pc, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on UDP %s: another program has the port; stop it (`ss -lunp` shows which), or choose another port: %w", addr, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on UDP %s: not permitted; run as root or choose a port from 1024 up: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen on UDP %s: this board does not have that address; leave it out to listen on all: %w", addr, err)
	default:
		return nil, fmt.Errorf("listen on UDP %s: %w", addr, err)
	}
}
