package board

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"sync"
)

// Console is a board's serial console: what it says is kept in a file, and can
// be waited for; what it is told, it reads.
type Console struct {
	listener net.Listener
	file     *os.File
	done     chan struct{}
	err      error // of keeping it; read after done

	mu      sync.Mutex
	conn    net.Conn
	said    []byte
	changed chan struct{} // closed, and made anew, when something is said
}

// listenConsole makes a console that QEMU connects to, once, before the context ends.
func listenConsole(ctx context.Context, socket, log string) (*Console, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c := &Console{listener: l, file: file, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = errors.Join(c.keep(ctx), file.Close())
	}()
	return c, nil
}

// wait returns once the board has no power.
func (c *Console) wait() error {
	<-c.done
	return c.err
}

func (c *Console) keep(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = c.listener.Close() })
	defer stop()
	conn, err := c.listener.Accept()
	_ = c.listener.Close()
	if err != nil {
		return nil // it never had power
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if _, err := c.file.Write(buf[:n]); err != nil {
				return fmt.Errorf("keep the console: %w", err)
			}
			c.mu.Lock()
			c.said = append(c.said, buf[:n]...)
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
		}
		if err != nil {
			return nil // the end of its power
		}
	}
}

// Said is all that the board said since it was powered on.
func (c *Console) Said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.said)
}

// Await waits until what the board said since it was powered on matches, and
// returns the match and its groups.
func (c *Console) Await(ctx context.Context, pattern *regexp.Regexp) ([]string, error) {
	for {
		c.mu.Lock()
		match, changed := pattern.FindSubmatch(c.said), c.changed
		c.mu.Unlock()
		if match != nil {
			groups := make([]string, len(match))
			for i, g := range match {
				groups[i] = string(g)
			}
			return groups, nil
		}
		select {
		case <-changed:
		case <-c.done:
			return nil, fmt.Errorf("wait for %q on the console: the board is off", pattern)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %q on the console: %w; last it said %q", pattern, ctx.Err(), tail(c.Said(), 300))
		}
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Type types text into the console.
func (c *Console) Type(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return errors.New("type into the console: the board has none yet")
	}
	if _, err := c.conn.Write([]byte(text)); err != nil {
		return fmt.Errorf("type into the console: %w", err)
	}
	return nil
}
