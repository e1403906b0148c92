// Command edge-wireguard carries one WireGuard link outside of the kernel, on
// boards whose kernel has none. edged starts it, tells it by its socket whom to
// speak with, and leaves it running when edged itself ends.
//
// It is a program of its own because of its memory, which grows with what it
// carries, and because edged should not be larger for what few boards need.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/edgeswarm/edgeswarm/internal/build"
)

// readyFile is the descriptor on which whoever starts it hears that the link is
// there, or why not; it need not be open.
const readyFile = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ready := os.NewFile(readyFile, "ready")
	err := run(ctx, os.Args[1:], func() {
		fmt.Fprintln(ready, "ready") // if nobody listens, nobody needs to know
		ready.Close()
	})
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(ready, err)
		fmt.Fprintln(os.Stderr, "edge-wireguard:", err)
		os.Exit(1)
	}
}

// run carries the link until ctx ends, or somebody removes it.
func run(ctx context.Context, args []string, ready func()) error {
	flags := pflag.NewFlagSet("edge-wireguard", pflag.ContinueOnError)
	link := flags.String("link", "edgewg", "`name` of the link")
	socket := flags.String("socket", "/run/edgeswarm/wireguard/edgewg.sock", "`path` to listen on for what the link is set to")
	version := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version {
		fmt.Println("edge-wireguard", build.Version)
		return nil
	}
	listener, err := listen(*socket)
	if err != nil {
		return err
	}
	defer listener.Close() // which removes it
	link0, err := tun.CreateTUN(*link, device.DefaultMTU)
	if err != nil {
		return fmt.Errorf("make link %s: %w", *link, err)
	}
	logger := device.NewLogger(device.LogLevelError, "edge-wireguard: ")
	dev := device.NewDevice(link0, conn.NewDefaultBind(), logger)
	defer dev.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			go dev.IpcHandle(c)
		}
	}()
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-dev.Wait():
		return errors.New("the link was removed")
	}
}

// listen opens the socket, which root alone may connect to: the private key
// comes over it.
func listen(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another process listens on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("take over %s: %w", path, err)
	}
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for settings: %w", err)
	}
	return listener, nil
}
