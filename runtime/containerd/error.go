package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/status"

	"github.com/edgeswarm/edgeswarm/runtime"
)

// wrap says what was being done when the daemon answered with an error, and
// makes of it what a caller of the Driver can tell apart. A missing thing is
// not turned into runtime.ErrNotFound: only the caller knows what was missing.
func (d *Driver) wrap(op string, err error) error {
	err = native(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", op, err)
	case errdefs.IsUnavailable(err) && d.trouble() != "":
		return fmt.Errorf("%s: %w: %s", op, runtime.ErrUnavailable, d.trouble())
	case errdefs.IsUnavailable(err):
		return fmt.Errorf("%s: %w: is containerd running on %s? (%s)", op, runtime.ErrUnavailable, d.cfg.Socket, reason(err))
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
}

// trouble is what is known of why the daemon does not run.
func (d *Driver) trouble() string {
	if d.cfg.Trouble == nil {
		return ""
	}
	return d.cfg.Trouble()
}

// native makes errdefs' kinds of gRPC's codes. Some of the client's services
// have done so already, so what carries no code passes unchanged.
func native(err error) error {
	if _, coded := status.FromError(err); err == nil || !coded {
		return err
	}
	return errgrpc.ToNative(err)
}

// reason cuts what gRPC says about a lost connection down to its cause.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "dial unix"); i >= 0 {
		text = text[i:]
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, ": unavailable"), `"`)
}

func notFound(op, id string) error { return fmt.Errorf("%s %s: %w", op, id, runtime.ErrNotFound) }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{runtime.ErrInvalid}, args...)...)
}

// failure is an error of a kind that has words of its own.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

func failuref(kind error, format string, args ...any) error {
	return &failure{kind: kind, text: fmt.Sprintf(format, args...)}
}
