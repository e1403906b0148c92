package node

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/runtime"
)

// Exec implements api.BoardServer: it runs the process if the task is on this
// board, and passes the stream on to the task's board if it is not.
func (s boardServer) Exec(stream grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
	const op = "exec"
	ctx := stream.Context()
	m, err := s.fellow(ctx, op)
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.Start == nil || len(first.Start.Command) == 0 {
		return api.Errorf(api.Invalid, op, "no command was given")
	}
	if found, err := m.agent.Find(first.Start.Task); err == nil {
		return s.execHere(stream, first.Start, found.Status)
	} else if api.KindOf(err) == api.Conflict {
		return err
	}
	control, err := m.control(ctx)
	if err != nil {
		return err
	}
	resp, err := control.GetTask(ctx, &api.GetTaskRequest{Task: first.Start.Task})
	if err != nil {
		return err
	}
	node := resp.Task.NodeID
	if node == "" || node == m.self {
		return api.Errorf(api.Unavailable, op, "task %s runs nowhere now (%s)", first.Start.Task, resp.Task.Status.State)
	}
	start := *first.Start
	start.Task = string(resp.Task.ID)
	return passExec(ctx, m, node, &start, stream)
}

// passExec joins the caller's stream to one with the task's board.
func passExec(ctx context.Context, m *membership, node api.NodeID, start *api.ExecStart, down grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
	client, err := m.boardOf(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := client.Exec(ctx)
	if err != nil {
		return err
	}
	if err := up.Send(&api.ExecInput{Start: start}); err != nil {
		return err
	}
	go func() { // ends with the call, as in api's relay
		for {
			in, err := down.Recv()
			if err != nil {
				_ = up.CloseSend()
				return
			}
			if up.Send(in) != nil {
				return
			}
		}
	}()
	for {
		out, err := up.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := down.Send(out); err != nil {
			return err
		}
	}
}

// execHere runs a process in a container of this board.
func (s boardServer) execHere(stream grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput], start *api.ExecStart, status api.TaskStatus) error {
	// One that is starting may be looked into: it may never become healthy.
	if status.State != api.TaskRunning && status.State != api.TaskStarting || status.ContainerID == "" {
		return api.Errorf(api.Unavailable, "exec", "task %s is not running (%s)", start.Task, status.State)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	input, feed := io.Pipe()
	defer input.Close()
	resize := make(chan api.TerminalSize, 1)
	if start.Size != nil {
		resize <- *start.Size
	}
	go func() { // ends with the call: Recv fails then
		feed.CloseWithError(receiveInput(stream, feed, resize, cancel))
	}()
	streams := runtime.Streams{Resize: resize}
	var sending sync.Mutex // stdout and stderr come from two goroutines
	streams.Stdout = &execWriter{"stdout", stream, &sending}
	streams.Stderr = &execWriter{"stderr", stream, &sending}
	if start.Stdin {
		streams.Stdin = input
	}
	code, err := s.b.parts.Driver.Exec(ctx, status.ContainerID, runtime.Process{
		Args: start.Command, Env: start.Env, Dir: start.Dir, User: start.User, TTY: start.TTY,
	}, streams)
	switch {
	case errors.Is(err, runtime.ErrInvalid):
		return api.Errorf(api.Invalid, "exec", "%w", err)
	case errors.Is(err, runtime.ErrNotRunning), errors.Is(err, runtime.ErrNotFound), errors.Is(err, runtime.ErrUnavailable):
		return api.Errorf(api.Unavailable, "exec", "%w", err)
	case err != nil:
		return err
	}
	sending.Lock()
	defer sending.Unlock()
	return stream.Send(&api.ExecOutput{Exit: &code})
}

// receiveInput hands on what the caller types, until the caller ends it. A
// caller that goes away takes the process with it.
func receiveInput(stream grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput], feed io.Writer, resize chan api.TerminalSize, gone func()) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			gone()
			return err
		}
		if in.Resize != nil {
			select {
			case <-resize: // an older size that nobody took
			default:
			}
			resize <- *in.Resize
		}
		if len(in.Data) > 0 {
			if _, err := feed.Write(in.Data); err != nil {
				return err
			}
		}
		if in.EOF {
			return nil
		}
	}
}

// execWriter sends one of the two outputs.
type execWriter struct {
	name   string
	stream grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]
	lock   *sync.Mutex
}

func (w *execWriter) Write(p []byte) (int, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	for written := 0; written < len(p); {
		piece := p[written:min(written+maxPiece, len(p))]
		if err := w.stream.Send(&api.ExecOutput{Stream: w.name, Data: piece}); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return len(p), nil
}

// maxPiece is the most output that one message carries, in bytes.
const maxPiece = 64 << 10
