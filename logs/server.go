package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

// server is the state of the log process.
type server struct {
	cfg  Config
	end  context.CancelFunc
	life context.Context // of the readers; ends after the last flush
	kill context.CancelFunc
	done chan struct{} // closed when all is written and let go of

	pending atomic.Int64
	kick    chan struct{} // something is to be written
	hurry   chan struct{} // it is much

	mu      sync.Mutex
	pipes   map[pipeID]*pipe
	spools  map[api.TaskID]*spool
	watches map[*watch]bool
	grown   bool
}

// watch is a client that follows tasks.
type watch struct {
	tasks map[api.TaskID]bool
	news  chan struct{} // one slot: a slow client misses no change, and holds nobody up
}

func newServer(cfg Config, end context.CancelFunc) *server {
	s := &server{
		cfg: cfg, end: end, done: make(chan struct{}), kick: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		pipes: map[pipeID]*pipe{}, spools: map[api.TaskID]*spool{}, watches: map[*watch]bool{},
	}
	s.life, s.kill = context.WithCancel(context.Background())
	return s
}

// adopt opens the FIFOs that a predecessor left.
func (s *server) adopt() error {
	entries, err := os.ReadDir(fifoDir(s.cfg.RunDir))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if id, ok := parsePipe(e.Name()); ok && e.Type() == fs.ModeNamedPipe {
			if _, err := s.openLocked(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// open makes the FIFOs of an attempt and reads them from now on.
func (s *server) open(task api.TaskID, attempt int) (stdout, stderr string, err error) {
	if err := validTask(task); err != nil {
		return "", "", api.Errorf(api.Invalid, "open log", "%w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := s.openLocked(pipeID{task, attempt, false})
	if err != nil {
		return "", "", err
	}
	errs, err := s.openLocked(pipeID{task, attempt, true})
	if err != nil {
		return "", "", err
	}
	return out.path, errs.path, nil
}

func (s *server) openLocked(id pipeID) (*pipe, error) {
	if p := s.pipes[id]; p != nil {
		if _, state := p.now(); state == pipeOpen {
			return p, nil
		} // else it is let go of, and reads on without a name
	}
	p, err := openPipe(fifoDir(s.cfg.RunDir), id)
	if err != nil {
		return nil, err
	}
	sp := s.spools[id.task]
	if sp == nil {
		sp = newSpool(filepath.Join(s.cfg.Dir, string(id.task)), s.cfg, &s.pending, s.wake, s.noteGrowth)
		s.spools[id.task] = sp
	}
	sp.users++
	s.pipes[id] = p
	go func() {
		p.run(func(r record) { sp.add(s.life, r) })
		s.closed(p, sp)
	}()
	return p, nil
}

// closed forgets a pipe that has ended. Behind the last of a task everything
// is written; the spool stays, so that there is never a second one of a task.
func (s *server) closed(p *pipe, sp *spool) {
	s.mu.Lock()
	if s.pipes[p.id] == p {
		delete(s.pipes, p.id)
	}
	sp.users--
	last := sp.users == 0
	s.mu.Unlock()
	if last {
		sp.close()
		s.tell(p.id.task)
	}
	close(p.gone)
}

// close lets go of an attempt's FIFOs and waits, within ctx, until they are drained.
func (s *server) close(ctx context.Context, task api.TaskID, attempt int) error {
	var errs []error
	for _, stderr := range []bool{false, true} {
		s.mu.Lock()
		p := s.pipes[pipeID{task, attempt, stderr}]
		s.mu.Unlock()
		if p == nil {
			continue
		}
		errs = append(errs, p.finish())
		p.await(ctx)
	}
	return errors.Join(errs...)
}

// remove deletes all of a task.
func (s *server) remove(task api.TaskID) error {
	if err := validTask(task); err != nil {
		return api.Errorf(api.Invalid, "remove log", "%w", err)
	}
	s.mu.Lock()
	sp := s.spools[task]
	delete(s.spools, task)
	var mine []*pipe
	for id, p := range s.pipes {
		if id.task == task {
			mine = append(mine, p)
			delete(s.pipes, id)
		}
	}
	s.mu.Unlock()
	if sp != nil {
		sp.discard() // a reader that waits for room must not wait
	}
	for _, p := range mine {
		p.remove()
	}
	if err := os.RemoveAll(filepath.Join(s.cfg.Dir, string(task))); err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	s.tell(task)
	return nil
}

// retain removes every task that is not named.
func (s *server) retain(tasks []api.TaskID) error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	known := map[api.TaskID]bool{}
	for _, e := range entries {
		known[api.TaskID(e.Name())] = true
	}
	s.mu.Lock()
	for id := range s.pipes {
		known[id.task] = true
	}
	s.mu.Unlock()
	var errs []error
	for task := range known {
		if validTask(task) == nil && !slices.Contains(tasks, task) {
			errs = append(errs, s.remove(task))
		}
	}
	return errors.Join(errs...)
}

// wake tells the flusher that there is something to write, or much of it.
func (s *server) wake(urgent bool) {
	nudge(s.kick)
	if urgent {
		nudge(s.hurry)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flushLoop writes in batches what came. With nothing to write it sleeps.
func (s *server) flushLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		}
		batch := time.NewTimer(s.batch())
		select {
		case <-batch.C:
		case <-s.hurry:
		case <-ctx.Done():
		}
		batch.Stop()
		s.flush(nil)
	}
}

func (s *server) batch() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watches) > 0 {
		return min(followedBatch, s.cfg.Batch)
	}
	return s.cfg.Batch
}

// flush writes what is pending of the tasks, or of all.
func (s *server) flush(tasks []api.TaskID) {
	s.mu.Lock()
	work := maps.Clone(s.spools)
	s.mu.Unlock()
	for task, sp := range work {
		if tasks != nil && !slices.Contains(tasks, task) {
			continue
		}
		wrote, again, err := sp.flush()
		if (wrote || err != nil) && sp.news(err) {
			s.cfg.Logger.Warn("lines are dropped", "task", task, "error", err)
		}
		if wrote {
			s.tell(task)
		}
		if again {
			nudge(s.kick)
		}
	}
	s.mu.Lock()
	grown := s.grown
	s.grown = false
	live := map[string]bool{}
	for task, sp := range s.spools {
		live[string(task)] = sp.users > 0
	}
	s.mu.Unlock()
	if grown {
		if err := pruneAll(s.cfg.Dir, s.cfg.MaxTotal, func(task string) bool { return live[task] }); err != nil {
			s.cfg.Logger.Warn("old logs can't be deleted", "error", err)
		}
	}
}

func (s *server) noteGrowth() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grown = true
}

// tell wakes the clients that follow the task.
func (s *server) tell(task api.TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watches {
		if w.tasks[task] {
			nudge(w.news)
		}
	}
}

func (s *server) follow(tasks []api.TaskID) (w *watch, done func()) {
	w = &watch{tasks: map[api.TaskID]bool{}, news: make(chan struct{}, 1)}
	for _, t := range tasks {
		w.tasks[t] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = true
	nudge(s.hurry) // what is pending waits no longer
	return w, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, w)
	}
}

// stop reads what is in the FIFOs now, writes everything, and lets go.
func (s *server) stop() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.pipes))
	s.mu.Unlock()
	flushing := make(chan struct{})
	go func() { // so that no reader waits for room
		defer close(flushing)
		for s.life.Err() == nil {
			s.flush(nil)
			select {
			case <-s.kick:
			case <-s.life.Done():
			}
		}
	}()
	for _, p := range all {
		p.stop()
	}
	for _, p := range all {
		<-p.gone
	}
	s.kill()
	<-flushing
	close(s.done)
}
