package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func testDisk(t testing.TB, path string, faults func(string) error) *disk {
	t.Helper()
	cfg := Config{Logger: slog.New(slog.DiscardHandler), faults: faults}.withDefaults()
	d, err := openDisk(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.close() })
	return d
}

func entry(index, term uint64, size int) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(index)}, size),
		AppendedAt: time.Unix(0, int64(index)*1e9),
	}
}

func span(from, to, term uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term, 20))
	}
	return out
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestLogKeepsWhatRaftStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	d := testDisk(t, path, nil)
	index := must[uint64](t)
	if first, last := index(d.FirstIndex()), index(d.LastIndex()); first != 0 || last != 0 {
		t.Errorf("empty: %d to %d", first, last)
	}
	var got raft.Log
	if err := d.GetLog(1, &got); err != raft.ErrLogNotFound {
		t.Errorf("absent entry: %v", err)
	}
	full := &raft.Log{Index: 5, Term: 3, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(7, 9)}
	for _, e := range []*raft.Log{full, {Index: 6, Term: 3, Type: raft.LogNoop}} {
		if err := d.StoreLog(e); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time after opening it again
		for _, want := range []*raft.Log{full, {Index: 6, Term: 3, Type: raft.LogNoop}} {
			if err := d.GetLog(want.Index, &got); err != nil {
				t.Fatal(err)
			}
			if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) ||
				!bytes.Equal(got.Extensions, want.Extensions) || !got.AppendedAt.Equal(want.AppendedAt) {
				t.Errorf("stored %+v, got %+v", want, got)
			}
		}
		if first, last := index(d.FirstIndex()), index(d.LastIndex()); first != 5 || last != 6 {
			t.Errorf("%d to %d", first, last)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		d = testDisk(t, path, nil)
	}
}

func TestLogAgainstAModel(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(r *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		d := testDisk(t, path, nil)
		model := map[uint64]uint64{} // index -> term
		last, term := uint64(0), uint64(1)
		for range rapid.IntRange(1, 20).Draw(r, "steps") {
			switch rapid.IntRange(0, 4).Draw(r, "step") {
			case 0, 1: // append
				n := rapid.Uint64Range(1, 70).Draw(r, "n")
				if err := d.StoreLogs(span(last+1, last+n, term)); err != nil {
					r.Fatal(err)
				}
				for i := last + 1; i <= last+n; i++ {
					model[i] = term
				}
				last += n
			case 2: // a new leader's entries replace the end
				if last == 0 {
					continue
				}
				from := rapid.Uint64Range(1, last).Draw(r, "from")
				if err := d.DeleteRange(from, last); err != nil {
					r.Fatal(err)
				}
				for i := from; i <= last; i++ {
					delete(model, i)
				}
				last = from - 1
				term++
			case 3: // compaction
				to := rapid.Uint64Range(0, last).Draw(r, "to")
				if err := d.DeleteRange(0, to); err != nil {
					r.Fatal(err)
				}
				for i := uint64(0); i <= to; i++ {
					delete(model, i)
				}
			case 4:
				if err := d.close(); err != nil {
					r.Fatal(err)
				}
				d = testDisk(t, path, nil)
			}
			first, end := uint64(0), uint64(0)
			for i := range model {
				if first == 0 || i < first {
					first = i
				}
				end = max(end, i)
			}
			gotFirst, err1 := d.FirstIndex()
			gotLast, err2 := d.LastIndex()
			if err1 != nil || err2 != nil || gotFirst != first || gotLast != end {
				r.Fatalf("%d to %d, want %d to %d", gotFirst, gotLast, first, end)
			}
			for i := uint64(1); i <= last+1; i++ {
				var got raft.Log
				err := d.GetLog(i, &got)
				if want, ok := model[i]; ok != (err == nil) || (ok && got.Term != want) {
					r.Fatalf("entry %d: %v term %d, want %v %d", i, err, got.Term, ok, want)
				}
			}
		}
		if err := d.close(); err != nil {
			r.Fatal(err)
		}
	})
}

// What raft was told was not stored must not come back behind what it stored
// after that.
func TestNothingStaleIsLeftBehindTheEnd(t *testing.T) {
	d := testDisk(t, filepath.Join(t.TempDir(), "raft.db"), nil)
	if err := d.StoreLogs(span(1, 10, 1)); err != nil {
		t.Fatal(err)
	}
	if err := d.StoreLogs(span(5, 6, 2)); err != nil { // as if 5 to 10 had been reported as failed
		t.Fatal(err)
	}
	if last := must[uint64](t)(d.LastIndex()); last != 6 {
		t.Errorf("the log ends at %d", last)
	}
}

func TestVoteIsOneWriteAndRepeatsAreNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	d := testDisk(t, path, nil)
	if _, err := d.Get(voteForKey); err == nil || err.Error() != "not found" {
		t.Errorf("absent key: %v (raft knows it by these words)", err)
	}
	before := d.writes.Load()
	for range 2 {
		for _, err := range []error{d.SetUint64(termKey, 4), d.SetUint64(voteTermKey, 4), d.Set(voteForKey, []byte("b"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := d.writes.Load() - before; got != 2 {
		t.Errorf("a term and a vote took %d writes", got)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d = testDisk(t, path, nil)
	term, _ := d.GetUint64(termKey)
	voteTerm, _ := d.GetUint64(voteTermKey)
	vote, _ := d.Get(voteForKey)
	if term != 4 || voteTerm != 4 || string(vote) != "b" {
		t.Errorf("kept %d %d %q", term, voteTerm, vote)
	}
}

// What one entry costs a card: bbolt rewrites the leaf, its branch, the root
// and the header, 4 KiB each, in two flushes.
func TestWriteBudget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	d := testDisk(t, path, nil)
	if err := d.StoreLogs(span(1, 3000, 1)); err != nil { // as much as the log ever holds
		t.Fatal(err)
	}
	const entries = 100
	bytesOf := func(batch int) float64 {
		last := must[uint64](t)(d.LastIndex())
		before := d.db.Stats()
		for i := uint64(0); i < entries; i += uint64(batch) {
			var logs []*raft.Log
			for j := range uint64(batch) {
				logs = append(logs, entry(last+1+i+j, 1, 256))
			}
			if err := d.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
		}
		after := d.db.Stats()
		diff := after.Sub(&before)
		return float64(diff.TxStats.GetWrite()*pageSize) / entries
	}
	alone, together := bytesOf(1), bytesOf(50)
	t.Logf("bytes written per entry of 256: %.0f alone, %.0f in batches of 50", alone, together)
	if alone > 4.2*pageSize || together > 2*256+4*pageSize/50 {
		t.Errorf("over budget")
	}
}

// A power cut in the middle of a write: what reached the card is any part of
// the pages before the first flush, and of the header before the second.
func TestPowerCutLosesNothingStored(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	d := testDisk(t, path, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	last := uint64(0)
	before := must[[]byte](t)(os.ReadFile(path))
	for round := range 40 {
		n := 1 + rng.Uint64N(30)
		compact := round%7 == 6
		if compact {
			if err := d.DeleteRange(0, last/2); err != nil {
				t.Fatal(err)
			}
		} else if err := d.StoreLogs(span(last+1, last+n, 1)); err != nil {
			t.Fatal(err)
		}
		after := must[[]byte](t)(os.ReadFile(path))
		first, _ := d.FirstIndex()
		for range 6 {
			torn := tear(before, after, rng)
			checkTorn(t, filepath.Join(dir, "torn.db"), torn, last, first)
		}
		if before = after; !compact {
			last += n
		}
	}
}

// tear returns a state of the file that a power cut between two others can leave.
func tear(before, after []byte, rng *rand.Rand) []byte {
	torn := append([]byte(nil), before...)
	if len(torn) < len(after) { // growing is flushed before anything is written
		torn = append(torn, make([]byte, len(after)-len(torn))...)
	}
	flushed := rng.IntN(3) == 0
	for at := 0; at < len(after); at += 512 {
		header := at < 2*pageSize
		reached := rng.IntN(2) == 0
		if header && flushed && reached || !header && (flushed || reached) {
			copy(torn[at:at+512], after[at:at+512])
		}
	}
	return torn
}

func checkTorn(t *testing.T, path string, raw []byte, last, first uint64) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	d := testDisk(t, path, nil)
	defer d.close()
	if err := d.verify(0); err != nil && first <= 1 {
		t.Fatal(err)
	}
	if end := must[uint64](t)(d.LastIndex()); end < last {
		t.Fatalf("the log ends at %d, %d was stored", end, last)
	}
	for i := max(first, 1); i <= last; i++ {
		var got raft.Log
		if err := d.GetLog(i, &got); err != nil || got.Index != i {
			t.Fatalf("entry %d of %d: %v", i, last, err)
		}
	}
}

// Whatever is wrong with the file, opening it ends in words.
func TestDamageIsAClearError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	d := testDisk(t, path, nil)
	for i := range uint64(20) {
		if err := d.StoreLogs(span(1+i*50, 50+i*50, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	sound := must[[]byte](t)(os.ReadFile(path))
	rng := rand.New(rand.NewPCG(3, 4))
	found := 0
	for i := range 400 {
		raw := append([]byte(nil), sound...)
		switch i % 4 {
		case 0: // cut short
			raw = raw[:rng.IntN(len(raw))]
		case 1: // a page of zeros
			at := rng.IntN(len(raw)/pageSize) * pageSize
			clear(raw[at : at+pageSize])
		case 2: // a page in another's place
			from, to := rng.IntN(len(raw)/pageSize)*pageSize, rng.IntN(len(raw)/pageSize)*pageSize
			copy(raw[to:to+pageSize], raw[from:from+pageSize])
		case 3: // some bytes changed
			for range 1 + rng.IntN(8) {
				raw[rng.IntN(len(raw))] ^= byte(1 + rng.IntN(255))
			}
		}
		if damage(t, filepath.Join(dir, "bad.db"), raw) {
			found++
		}
	}
	t.Logf("found %d of 400 damages; the others hit unused space", found)
	if found < 100 {
		t.Errorf("found only %d", found)
	}
}

// damage reports whether it was found; any other error than ErrCorrupt fails.
func damage(t *testing.T, path string, raw []byte) bool {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(path, Config{}.withDefaults())
	if err == nil {
		defer d.close()
		err = d.verify(0)
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		t.Fatalf("not a clear error: %v", err)
	}
	return err != nil
}

func FuzzCheckFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "raft.db")
	d := testDisk(f, path, nil)
	if err := d.StoreLogs(span(1, 200, 1)); err != nil {
		f.Fatal(err)
	}
	_ = d.close()
	sound, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{1})
	f.Add(len(sound)/2, []byte("garbage"))
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		raw := slices.Clone(sound)
		if at < 0 || at >= len(raw) {
			return
		}
		copy(raw[at:], patch)
		damage(t, filepath.Join(t.TempDir(), "bad.db"), raw)
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(uint64(7), encodeEntry(entry(7, 2, 30)))
	f.Fuzz(func(t *testing.T, index uint64, body []byte) {
		raw := append(make([]byte, 4), body...)
		binary.BigEndian.PutUint32(raw, checksum(index, body)) // or only the checksum is tested
		var got, again raft.Log
		if decodeEntry(index, raw, &got) != nil {
			return
		}
		if err := decodeEntry(index, encodeEntry(&got), &again); err != nil || !bytes.Equal(again.Data, got.Data) || again.Term != got.Term {
			t.Errorf("%+v became %+v: %v", got, again, err)
		}
	})
}
