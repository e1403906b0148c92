package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	shaking = 30 * time.Second // a login on a slow board
	again   = 500 * time.Millisecond
	// edgedSocket is where edged listens on every board.
	edgedSocket = "/run/edgeswarm/edged.sock"
)

// Said is what a program on a board came to.
type Said struct {
	Out, Err string
	Code     int
}

// login is a board's SSH connection, made when it is first wanted and again when
// it broke.
type login struct {
	mu     sync.Mutex
	client *ssh.Client
}

func (l *login) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		_ = l.client.Close()
		l.client = nil
	}
}

// Address is what the router's DHCP gave the board, once it has spoken.
func (b *Board) Address() (netip.Addr, bool) { return b.port.Address() }

// At is an address of this machine that is a TCP port of the board, as a
// router's port forwarding makes it.
func (b *Board) At(port uint16) (string, error) {
	a, ok := b.Address()
	if !ok {
		return "", fmt.Errorf("%s has no address yet", b.cfg.Name)
	}
	return b.cfg.Router.Forward(netip.AddrPortFrom(a, port))
}

// Login waits until root can log in, or the context ends.
func (b *Board) Login(ctx context.Context) error {
	_, err := b.login(ctx)
	return err
}

func (b *Board) login(ctx context.Context) (*ssh.Client, error) {
	on, err := b.powered()
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	on.login.mu.Lock()
	defer on.login.mu.Unlock()
	if on.login.client != nil {
		return on.login.client, nil
	}
	for {
		client, err := b.shake(ctx, on)
		if err == nil {
			on.login.client = client
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("log in to %s: %w", b.cfg.Name, errors.Join(err, ctx.Err()))
		case <-on.qemu.Gone():
			return nil, fmt.Errorf("log in to %s: it turned itself off", b.cfg.Name)
		case <-time.After(again):
		}
	}
}

// shake tries once. It ends with the board's power: a connection to a board that is
// gone is not told so.
func (b *Board) shake(ctx context.Context, on *power) (*ssh.Client, error) {
	at, err := b.At(22)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(on.ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(shaking)); err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, at, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(b.cfg.Key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the board made it just now, and the wire is ours
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// session opens a session on the board; a connection that broke is made again.
func (b *Board) session(ctx context.Context) (*ssh.Session, error) {
	for {
		client, err := b.login(ctx)
		if err != nil {
			return nil, err
		}
		s, err := client.NewSession()
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if on, off := b.powered(); off == nil {
			on.login.forget()
		}
	}
}

// Exec runs a command line of the shell on the board, as root. A program that
// fails is no error.
func (b *Board) Exec(ctx context.Context, stdin io.Reader, command string) (Said, error) {
	s, err := b.session(ctx)
	if err != nil {
		return Said{}, err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	var out, errOut bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = stdin, &out, &errOut
	err = s.Run(command)
	var exit *ssh.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Said{}, fmt.Errorf("run %q on %s: %w", command, b.cfg.Name, errors.Join(err, ctx.Err()))
	}
	said := Said{Out: out.String(), Err: errOut.String()}
	if exit != nil {
		said.Code = exit.ExitStatus()
	}
	return said, nil
}

// Dial connects to a Unix socket of the board.
func (b *Board) Dial(ctx context.Context, socket string) (net.Conn, error) {
	client, err := b.login(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connect to %s of %s: %w", socket, b.cfg.Name, err)
	}
	return conn, nil
}

// serveSocket makes each connection to Socket one to the board's edged. A board
// that is off, or whose edged is, hangs up.
func (b *Board) serveSocket(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() {
			if err := b.join(ctx, conn); err != nil && ctx.Err() == nil {
				b.cfg.Log.Debug("edged was not reached", "board", b.cfg.Name, "err", err)
			}
		})
	}
}

func (b *Board) join(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, shaking)
	edged, err := b.Dial(ctx, edgedSocket)
	cancel()
	if err != nil {
		return err
	}
	defer edged.Close()
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(edged, conn)
		_ = edged.Close()
	})
	_, _ = io.Copy(conn, edged)
	_ = conn.Close()
	there.Wait()
	return nil
}
