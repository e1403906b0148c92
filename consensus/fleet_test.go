package consensus_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeswarm/edgeswarm/consensus"
	"github.com/edgeswarm/edgeswarm/consensus/mem"
)

// notes is a machine that keeps every entry it was given, in order.
type notes struct {
	mu      sync.Mutex
	entries []string
	fail    string // Apply errs at this entry
}

func (m *notes) Apply(index uint64, entry []byte) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != "" && string(entry) == m.fail {
		return nil, errors.New("entry of an unknown format")
	}
	m.entries = append(m.entries, string(entry))
	return len(m.entries), nil
}

func (m *notes) Snapshot() (func(io.Writer) error, error) {
	held := m.all()
	return func(w io.Writer) error {
		for _, e := range held {
			if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(e))), e...)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (m *notes) Restore(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var entries []string
	for len(raw) > 0 {
		size, n := binary.Uvarint(raw)
		if n <= 0 || uint64(len(raw)-n) < size {
			return io.ErrUnexpectedEOF
		}
		entries = append(entries, string(raw[n:n+int(size)]))
		raw = raw[n+int(size):]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = entries
	return nil
}

func (m *notes) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries)
}

func (m *notes) failAt(entry string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = entry
}

func (m *notes) has(entry string) bool { return slices.Contains(m.all(), entry) }

// fleet is some nodes on one hub, with their directories.
type fleet struct {
	t     *testing.T
	hub   *mem.Hub
	dir   string
	tune  func(*consensus.Config)
	nodes map[string]*member
}

type member struct {
	*consensus.Node
	id      string
	machine *notes
	ran     chan error
	stop    context.CancelFunc

	mu      sync.Mutex
	leading int // calls of lead under way
	terms   int
	leadErr error // given once by lead
}

func newFleet(t *testing.T, tune func(*consensus.Config)) *fleet {
	f := &fleet{t: t, hub: mem.NewHub(), dir: t.TempDir(), tune: tune, nodes: map[string]*member{}}
	return f
}

// sealOf is a key of the node's own.
func sealOf(t *testing.T, id string) cipher.AEAD {
	t.Helper()
	key := sha256.Sum256([]byte(id))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return seal
}

// open starts a node on its directory.
func (f *fleet) open(id string) *member {
	f.t.Helper()
	m := &member{id: id, machine: &notes{}, ran: make(chan error, 1)}
	cfg := consensus.Config{ID: id, Dir: filepath.Join(f.dir, id), Network: f.hub.Join(id), Machine: m.machine, Seal: sealOf(f.t, id)}
	if f.tune != nil {
		f.tune(&cfg)
	}
	node, err := consensus.Open(cfg)
	if err != nil {
		f.t.Fatalf("open %s: %v", id, err)
	}
	m.Node = node
	f.nodes[id] = m
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() { m.ran <- node.Run(ctx, m.lead) }()
	return m
}

func (m *member) lead(ctx context.Context) error {
	m.mu.Lock()
	m.leading++
	m.terms++
	err := m.leadErr
	m.leadErr = nil
	overlap := m.leading > 1
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.leading--
	}()
	if overlap {
		panic("two terms at once")
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (m *member) isLeading() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leading > 0
}

func (m *member) began() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.terms
}

// close ends a node in the proper order.
func (f *fleet) close(id string) error {
	m := f.nodes[id]
	delete(f.nodes, id)
	m.stop()
	err := <-m.ran
	return errors.Join(err, m.Close())
}

// kill ends a node as a power cut looks to the others: it falls silent at once.
func (f *fleet) kill(id string) {
	f.hub.Cut(id)
	_ = f.close(id)
	f.hub.Mend(id)
}

func (f *fleet) closeAll() {
	for id := range f.nodes {
		if err := f.close(id); err != nil && !errors.Is(err, consensus.ErrMachine) {
			f.t.Errorf("close %s: %v", id, err)
		}
	}
}

// found opens a, b and c as a fleet of three voters.
func (f *fleet) found() {
	f.t.Helper()
	a := f.open("a")
	if err := a.Bootstrap(); err != nil {
		f.t.Fatal(err)
	}
	f.eventually("a leads", a.isLeading)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, id := range []string{"b", "c"} {
		f.open(id)
		if err := a.AddNonvoter(ctx, id); err != nil {
			f.t.Fatal(err)
		}
	}
	for _, id := range []string{"b", "c"} {
		if err := a.Promote(ctx, id); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fleet) leader() *member {
	for _, m := range f.nodes {
		if m.isLeading() {
			return m
		}
	}
	return nil
}

func (f *fleet) awaitLeader() *member {
	f.t.Helper()
	f.eventually("somebody leads", func() bool { return f.leader() != nil })
	return f.leader()
}

// eventually polls on the bubble's clock.
func (f *fleet) eventually(what string, ok func() bool) {
	f.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatalf("not within a minute: %s", what)
}

// write proposes until somebody takes it, and reports how long that took.
func (f *fleet) write(entry string) time.Duration {
	f.t.Helper()
	start := time.Now()
	for time.Since(start) < time.Minute {
		if m := f.leader(); m != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, _, err := m.Propose(ctx, []byte(entry))
			cancel()
			if err == nil {
				return time.Since(start)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatalf("nobody took %q within a minute", entry)
	return 0
}

// bubble runs a test on virtual time and closes the fleet at its end.
func bubble(t *testing.T, tune func(*consensus.Config), test func(t *testing.T, f *fleet)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, tune)
		defer f.closeAll()
		test(t, f)
	})
}

func numbered(prefix string, from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}
