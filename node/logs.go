package node

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/logs"
)

// LogProcess is the first argument that makes edged the board's log process.
const LogProcess = "log-process"

// RunLogProcess is edged in that role: it lives apart from the one that
// started it, so that tasks write on while edged is restarted.
func RunLogProcess(ctx context.Context, args []string) error {
	cfg := logs.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := pflag.NewFlagSet(LogProcess, pflag.ContinueOnError)
	flags.StringVar(&cfg.Dir, "dir", "", "where lines are kept")
	flags.StringVar(&cfg.RunDir, "run-dir", "", "where the FIFOs are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := logs.Serve(ctx, cfg); !errors.Is(err, logs.ErrRunning) {
		return err
	}
	return nil
}

// newLogs makes the board's end of its log process.
func newLogs(cfg Config, dir *stateDir) *logs.Client {
	lines, run := dir.room("logs"), filepath.Join(cfg.RunDir, "logs")
	isolate := func(pid int) error {
		if err := host.MoveToCgroup(pid, cfg.ownCgroup("logs")); err != nil {
			cfg.Logger.Warn("log process ends with edged's unit, and holds up tasks until edged is back", "err", err)
		}
		return nil
	}
	return logs.NewClient(logs.ClientConfig{
		Dir: lines, RunDir: run, Logger: cfg.Logger.With("room", "logs"),
		Spawn: func() error {
			return logs.Spawn(logs.SpawnConfig{Args: []string{LogProcess, "--dir", lines, "--run-dir", run}, Stderr: os.Stderr, Isolate: isolate})
		},
	})
}

// followHold is how long a followed line waits for an older one of another board.
const followHold = 300 * time.Millisecond

// Logs implements api.BoardServer: it gathers the lines of a service or a task
// from the boards that hold them.
func (s boardServer) Logs(req *api.LogsRequest, stream grpc.ServerStreamingServer[api.LogLine]) error {
	const op = "logs"
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	m, err := s.fellow(ctx, op)
	if err != nil {
		return err
	}
	tasks, err := m.tasksFor(ctx, req)
	if err != nil {
		return err
	}
	f := follower{m: m, req: req, known: map[api.TaskID]bool{}, growing: req.Follow && !req.Local && req.Task == ""}
	sources := f.sources(ctx, tasks)
	hold, joining := time.Duration(0), (chan iter.Seq2[api.LogLine, error])(nil)
	if req.Follow {
		hold = followHold
		if f.growing {
			joining = make(chan iter.Seq2[api.LogLine, error])
			go f.follow(ctx, joining) // ends with ctx, which this call ends
		}
	}
	for line, err := range logs.MergeGrowing(ctx, hold, joining, sources...) {
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			line = m.notice(err)
		}
		if err := stream.Send(&line); err != nil {
			return err
		}
	}
	return nil
}

// tasksFor lists the tasks whose lines are asked for: by the leader's word, or
// when no leader can be asked, those that this board knows of.
func (m *membership) tasksFor(ctx context.Context, req *api.LogsRequest) ([]*api.Task, error) {
	if req.Local {
		found, err := m.agent.Find(req.Task)
		if err != nil {
			return nil, err
		}
		return []*api.Task{found.Task}, nil
	}
	control, err := m.control(ctx)
	if err != nil {
		return nil, err
	}
	if req.Task != "" {
		resp, err := control.GetTask(ctx, &api.GetTaskRequest{Task: req.Task})
		if err != nil {
			return nil, err
		}
		return []*api.Task{resp.Task}, nil
	}
	resp, err := control.ListTasks(ctx, &api.ListTasksRequest{Service: req.Service})
	if err != nil {
		return nil, err
	}
	return resp.Tasks, nil
}

// ownLines reads what this board keeps of tasks.
func (m *membership) ownLines(ctx context.Context, req *api.LogsRequest, tasks []*api.Task) iter.Seq2[api.LogLine, error] {
	byID := make(map[api.TaskID]*api.Task, len(tasks))
	query := logs.Query{Tail: req.Tail, Since: req.Since, Follow: req.Follow, From: req.From}
	for _, t := range tasks {
		byID[t.ID] = t
		query.Tasks = append(query.Tasks, t.ID)
	}
	return func(yield func(api.LogLine, error) bool) {
		kept, cancel := m.whileKept(ctx, query)
		defer cancel()
		for line, err := range m.board.parts.Logs.Read(kept, query) {
			if kept.Err() != nil && ctx.Err() == nil {
				return // of tasks that are no more there will be no more
			}
			if !req.Local {
				line.Place = nil // it means nothing among those of other boards
			}
			if t := byID[line.TaskID]; t != nil {
				line.NodeID, line.Service, line.Slot = m.self, t.ServiceName, t.Slot
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

// notice is a line of ours among those of tasks.
func (m *membership) notice(err error) api.LogLine {
	return api.LogLine{Time: m.board.clock.Now(), Stream: "stderr", Data: []byte("edgeswarm: " + err.Error())}
}
