package logs

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// closePatience is how long a close waits for the pipes to be drained before
// it leaves that to go on by itself.
const closePatience = time.Second

func (s *server) accept(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		go s.handle(ctx, conn)
	}
}

// handle answers one client until it goes.
func (s *server) handle(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	defer conn.Close()
	for {
		var q request
		if err := readFrame(conn, &q); err != nil {
			return
		}
		if q.Op == opWatch {
			go func() { // the client says nothing more: what comes is its end
				defer cancel()
				var end [1]byte
				_, _ = conn.Read(end[:])
			}()
			s.report(ctx, conn, q.Tasks)
			return
		}
		if err := writeFrame(conn, s.answer(ctx, q)); err != nil {
			return
		}
		if q.Op == opStop {
			release() // the end of the connection says that all is written
			s.end()
			<-s.done
			return
		}
	}
}

func (s *server) answer(ctx context.Context, q request) response {
	var (
		r   response
		err error
	)
	switch q.Op {
	case opHello, opStop:
	case opOpen:
		r.Stdout, r.Stderr, err = s.open(q.Task, q.Attempt)
	case opClose:
		patient, cancel := context.WithTimeout(ctx, closePatience)
		defer cancel()
		err = s.close(patient, q.Task, q.Attempt)
	case opRemove:
		err = s.remove(q.Task)
	case opRetain:
		err = s.retain(q.Tasks)
	case opFlush:
		s.flush(append([]api.TaskID{}, q.Tasks...))
	default:
		err = api.Errorf(api.Invalid, "", "log process does not know %q: it is older than edged; restart it", q.Op)
	}
	if err != nil {
		r.Kind, r.Err = api.KindOf(err), err.Error()
	}
	return r
}

// report tells the client once that it is heard, and again after each change.
func (s *server) report(ctx context.Context, conn net.Conn, tasks []api.TaskID) {
	w, done := s.follow(tasks)
	defer done()
	for {
		if err := writeFrame(conn, response{}); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.news:
		}
	}
}
