package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	// drainIdle is how long a pipe that is let go of may stay silent while its
	// writer still holds it.
	drainIdle = 10 * time.Second
	// drainMost is what is read of a pipe after the process was told to end:
	// a task that never stops writing must not keep it.
	drainMost = 1 << 20
)

// pipeID names one FIFO.
type pipeID struct {
	task    api.TaskID
	attempt int
	stderr  bool
}

func (id pipeID) file() string {
	stream := "out"
	if id.stderr {
		stream = "err"
	}
	return fmt.Sprintf("%s.%d.%s", id.task, id.attempt, stream)
}

func parsePipe(name string) (id pipeID, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[2] != "out" && parts[2] != "err" {
		return id, false
	}
	attempt, err := strconv.Atoi(parts[1])
	id = pipeID{api.TaskID(parts[0]), attempt, parts[2] == "err"}
	return id, err == nil && validTask(id.task) == nil
}

// validTask refuses what can't be a folder of its own.
func validTask(task api.TaskID) error {
	if task == "" || strings.ContainsAny(string(task), "./\x00") {
		return fmt.Errorf("task ID %q can't name a log", task)
	}
	return nil
}

// pipe reads one FIFO for as long as it is wanted. It holds the writing side
// too: so the end of one writer is not the end of the file, and what was
// written while nobody read is still there.
type pipe struct {
	id   pipeID
	path string
	done chan struct{} // closed when nothing more will come
	gone chan struct{} // closed when what came is written

	mu    sync.Mutex
	file  *os.File
	state pipeState
}

// pipeState only moves forward.
type pipeState int

const (
	pipeOpen    pipeState = iota
	pipeEnding            // let go of: the writer's end is ours
	pipeStopped           // the process ends: read what is there
	pipeRemoved           // nobody wants the rest
)

func openPipe(dir string, id pipeID) (*pipe, error) {
	path := filepath.Join(dir, id.file())
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &pipe{id: id, path: path, file: f, done: make(chan struct{}), gone: make(chan struct{})}, nil
}

var chunks = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// run reads until the pipe is let go of and drained, and hands records to add.
func (p *pipe) run(add func(record)) {
	defer close(p.done)
	base := record{attempt: uint32(p.id.attempt)}
	if p.id.stderr {
		base.flags = flagStderr
	}
	emit := func(line []byte, partial bool) {
		r := base
		r.at, r.data = time.Now(), line
		if partial {
			r.flags |= flagPartial
		}
		add(r)
	}
	var lines splitter
	use := func(b []byte) { lines.feed(b, emit) }
	for {
		file, state := p.now()
		if state == pipeRemoved {
			_ = file.Close()
			return
		}
		if state == pipeStopped {
			drain(file, use)
			lines.end(true, emit) // whoever opens it next reads the rest of the line
			_ = file.Close()
			return
		}
		n, err := readPipe(file, use)
		current, state := p.now()
		switch {
		case n > 0 && state == pipeEnding:
			_ = current.SetReadDeadline(time.Now().Add(drainIdle))
		case n > 0, current != file: // goes on, or was let go of meanwhile
		case state == pipeOpen && !errors.Is(err, os.ErrDeadlineExceeded), state == pipeEnding:
			lines.end(false, emit)
			_ = file.Close()
			return
		}
	}
}

// readPipe waits for bytes and hands over what there is at once. A silent pipe
// costs no buffer. It answers 0 at the end of the file.
func readPipe(file *os.File, use func([]byte)) (n int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var readErr error
	err = raw.Read(func(fd uintptr) bool {
		n, readErr = readChunk(int(fd), use)
		return !errors.Is(readErr, unix.EAGAIN)
	})
	return n, errors.Join(err, readErr)
}

// drain hands over what is in the pipe now, and no more than drainMost.
func drain(file *os.File, use func([]byte)) {
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // without waiting, whatever its deadline
		for sum := 0; sum < drainMost; {
			n, err := readChunk(int(fd), use)
			if n == 0 || err != nil {
				return
			}
			sum += n
		}
	})
}

func readChunk(fd int, use func([]byte)) (int, error) {
	b := chunks.Get().(*[]byte)
	defer chunks.Put(b)
	for {
		n, err := unix.Read(fd, *b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			use((*b)[:n])
		}
		return max(n, 0), err
	}
}

func (p *pipe) now() (*os.File, pipeState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file, p.state
}

// finish lets go: what is in the pipe and what its writer still has are read,
// then it is gone.
func (p *pipe) finish() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != pipeOpen {
		return nil
	}
	reading, err := os.OpenFile(p.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil { // its name is gone: nobody can begin to write to it
		p.state = pipeStopped
		return p.file.SetReadDeadline(time.Unix(1, 0))
	}
	if err := os.Remove(p.path); err != nil {
		return errors.Join(err, reading.Close())
	}
	writing := p.file
	p.file, p.state = reading, pipeEnding
	_ = reading.SetReadDeadline(time.Now().Add(drainIdle))
	return writing.Close() // which wakes the reader
}

// remove gives up what is in the pipe.
func (p *pipe) remove() {
	_ = os.Remove(p.path)
	p.advance(pipeRemoved)
	<-p.done
}

// stop ends the reading, after what is in the pipe now, and leaves the FIFO
// for the next log process.
func (p *pipe) stop() { p.advance(pipeStopped) }

func (p *pipe) advance(to pipeState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = max(p.state, to)
	_ = p.file.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// await waits for the end of the pipe, but no longer than ctx.
func (p *pipe) await(ctx context.Context) {
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}
