package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"time"
)

// connectTimeout bounds a connection's making: a person may have to type a
// passphrase for ssh.
func (t target) connectTimeout() time.Duration {
	if t.ssh != nil {
		return time.Minute
	}
	return 5 * time.Second
}

// explain turns a failure to connect into one line: what, why, what to do.
func (t target) explain(err error) error {
	switch {
	case t.ssh != nil:
		return t.explainSSH(err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no node answers at %s: the socket does not exist; start edged on this machine, as root, or name another board with --host ssh://user@board or %s", t, HostVariable)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the node at %s may not be steered by this user: permission denied; run the command as root, or with sudo", t)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no node answers at %s: nothing listens on the socket, so edged has ended; see in its log why, and start it again", t)
	case errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("no node answers at %s: this is not the socket of a running edged; name the right one with --host", t)
	case err == nil:
		return fmt.Errorf("what listens at %s does not answer as edged does: name edged's socket with --host", t)
	default:
		return fmt.Errorf("connect to %s: %w; is edged running there?", t, err)
	}
}

func (t target) explainSSH(err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("connect to %s: the ssh program is not installed on this machine; install it (openssh-client), or run edgectl on the board", t)
	case err == nil:
		return fmt.Errorf("connect to %s: the other side does not answer as edgectl dial-stdio does; does edgectl run there?", t)
	default:
		return fmt.Errorf("connect to %s: %w; does `ssh` reach this board, and does edgectl run there?", t, err)
	}
}
