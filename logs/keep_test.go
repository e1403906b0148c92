package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edgeswarm/edgeswarm/api"
)

// serveHere runs the log process inside this one, with bounds of the test's own.
func serveHere(b *bench, cfg Config) {
	b.Helper()
	cfg.Dir, cfg.RunDir = b.dir, b.run
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, cfg) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("serve: %v", err)
		}
	})
	b.client.cfg.Spawn = func() error { return nil } // it is on its way
}

func TestRotationIsBounded(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxFile: 20_000, MaxTask: 60_000, Batch: time.Millisecond})
	out, errs := b.open("web", 1)
	const all = 20_000
	b.write(out, numbered(0, all))
	_, _ = out.Close(), errs.Close()
	if err := b.client.Close(b.context(), "web", 1); err != nil {
		t.Fatal(err)
	}
	lines := b.read(Query{Tasks: []api.TaskID{"web"}, Tail: -1})
	b.wantNumbered(lines, all-len(lines)) // the newest, and none missing between
	var sum int64
	for _, name := range b.files("web") {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	if sum > 60_000 || sum < 30_000 || len(lines) < 1000 {
		t.Fatalf("%d lines kept in %d bytes, want 40,000 to 60,000", len(lines), sum)
	}
}

func TestTotalIsBounded(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxTotal: 100_000, Batch: time.Millisecond})
	var last api.TaskID
	for i := range 10 {
		last = api.TaskID("task" + strconv.Itoa(i))
		out, errs := b.open(last, 1)
		b.write(out, numbered(0, 600)) // about 17 KB
		b.eventually(last, 600)
		_, _ = out.Close(), errs.Close()
		if err := b.client.Close(b.context(), last, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.client.Shutdown(b.context()); err != nil { // nothing is deleted while the test looks
		t.Fatal(err)
	}
	var sum int64
	err := filepath.WalkDir(b.dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, err := e.Info()
			if err != nil {
				return err
			}
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum > 125_000 || sum < 50_000 {
		t.Errorf("all logs have %d bytes, want about 100,000", sum)
	}
	if n := len(b.files(last)); n != 1 {
		t.Errorf("the newest task has %d files", n)
	}
	if n := len(b.files("task0")); n != 0 {
		t.Errorf("the oldest task still has %d files", n)
	}
}

func TestTailAndSince(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxFile: 2000, MaxTask: 1 << 20, Batch: time.Millisecond})
	out, _ := b.open("web", 1)
	for i := range 20 { // in many small batches, so that there are many files
		b.write(out, numbered(20*i, 20))
		b.eventually("web", 20*(i+1))
	}
	if n := len(b.files("web")); n < 5 {
		t.Fatalf("%d files: the test wants rotation", n)
	}
	web := []api.TaskID{"web"}
	for _, tail := range []int{0, 1, 19, 60, 399, 400, 401, 1 << 30, -1} {
		want := tail
		if tail < 0 || tail > 400 {
			want = 400
		}
		lines := b.read(Query{Tasks: web, Tail: tail})
		if len(lines) != want {
			t.Fatalf("tail %d answers %d lines, want %d", tail, len(lines), want)
		}
		b.wantNumbered(lines, 400-want)
	}

	var at time.Time
	for line, err := range b.client.Read(b.context(), Query{Tasks: web, Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(line.Data) == "line 360" {
			at = line.Time
		}
	}
	if lines := b.read(Query{Tasks: web, Tail: -1, Since: at}); len(lines) > 60 || len(lines) < 40 || lines[len(lines)-1] != "stdout:line 399" {
		t.Fatalf("since line 360: %d lines", len(lines))
	}
	if lines := b.read(Query{Tasks: web, Tail: 5, Since: time.Now().Add(time.Hour)}); len(lines) != 0 {
		t.Fatalf("since the future: %q", lines)
	}
	if lines := b.read(Query{Tasks: []api.TaskID{"unknown"}, Tail: -1}); len(lines) != 0 {
		t.Fatalf("of an unknown task: %q", lines)
	}
}

func TestTailCountsLongLinesOnce(t *testing.T) {
	b := newBench(t)
	out, _ := b.open("web", 1)
	b.write(out, "short\n"+strings.Repeat("z", 2*MaxLine)+"tail\n")
	b.eventually("web", 4)
	web := []api.TaskID{"web"}
	if lines := b.read(Query{Tasks: web, Tail: 1}); len(lines) != 3 || lines[2] != "stdout:tail" {
		t.Fatalf("tail 1 answers %d pieces of a long line, want 3", len(lines))
	}
	if lines := b.read(Query{Tasks: web, Tail: 2}); len(lines) != 4 || lines[0] != "stdout:short" {
		t.Fatalf("tail 2 answers %d pieces, want 4", len(lines))
	}
}

func TestFollowAcrossRotation(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxFile: 30_000, MaxTask: 1 << 20, Batch: 10 * time.Millisecond})
	out, _ := b.open("web", 1)
	b.write(out, numbered(0, 3))
	b.eventually("web", 3)
	const all = 10_000
	lines := make(chan string, all)
	go func() {
		defer close(lines)
		for line, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web"}, Tail: 2, Follow: true}) {
			if err != nil {
				b.Error(err)
				return
			}
			lines <- text(line)
			if string(line.Data) == "line "+strconv.Itoa(all-1) {
				return
			}
		}
	}()
	got := []string{<-lines} // it follows by now
	b.write(out, numbered(3, all-3))
	for line := range lines {
		got = append(got, line)
	}
	b.wantNumbered(got, 1)
	if len(got) != all-1 || len(b.files("web")) < 2 {
		t.Fatalf("%d lines of %d files", len(got), len(b.files("web")))
	}
}

// TestSlowReader neither holds up the task nor costs memory, and is told what
// it missed.
func TestSlowReader(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxFile: 50_000, MaxTask: 100_000, Batch: time.Millisecond})
	out, _ := b.open("web", 1)
	b.write(out, numbered(0, 10))
	var got []string
	for line, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web"}, Tail: -1, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, text(line)); len(got) == 1 {
			// While the reader takes its time, the task writes much more than is
			// kept: its writes return.
			for i := range 30 {
				b.write(out, numbered(10+3000*i, 3000))
				if err := callFlush(b, "web"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if string(line.Data) == "line "+strconv.Itoa(10+90_000-1) {
			break
		}
	}
	gaps, last := 0, -1
	for _, line := range got {
		var n int
		if line == "stderr:edgeswarm: lines are missing here: they were deleted before they could be read" {
			gaps++
		} else if _, err := fmt.Sscanf(line, "stdout:line %d", &n); err != nil || n <= last || n > last+1 && gaps == 0 {
			t.Fatalf("line %q behind line %d, after %d gaps", line, last, gaps)
		} else {
			last = n
		}
	}
	if gaps == 0 || len(got) > 40_000 {
		t.Fatalf("%d lines with %d gaps", len(got), gaps)
	}
}

// TestReaderOfATaskThatWritesOn ends, though there is always more: with what was
// there when it began.
func TestReaderOfATaskThatWritesOn(t *testing.T) {
	for _, tail := range []int{-1, 5} {
		b := newBench(t)
		serveHere(b, Config{MaxFile: 5_000, MaxTask: 1 << 20, Batch: time.Millisecond})
		out, _ := b.open("web", 1)
		const before = 1000
		b.write(out, numbered(0, before))
		b.eventually("web", before)
		read, written := []string{}, before
		for line, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web"}, Tail: tail}) {
			if err != nil {
				t.Fatal(err)
			}
			if read = append(read, text(line)); len(read) > 2*before {
				t.Fatalf("tail %d: the reader is held for ever", tail)
			}
			b.write(out, numbered(written, 2))
			if written += 2; written%20 == 0 {
				if err := callFlush(b, "web"); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := before
		if tail > 0 {
			want = tail
		}
		if len(read) != want || read[want-1] != "stdout:line "+strconv.Itoa(before-1) {
			t.Errorf("tail %d: %d lines, the last %q", tail, len(read), read[len(read)-1])
		}
	}
}

func callFlush(b *bench, task api.TaskID) error {
	_, err := b.client.call(b.context(), "flush", request{Op: opFlush, Tasks: []api.TaskID{task}}, false)
	return err
}

// TestReadFromAPlace: whoever goes on behind a line misses none and sees none
// twice, whatever the clock did, and is told if some are gone.
func TestReadFromAPlace(t *testing.T) {
	b := newBench(t)
	serveHere(b, Config{MaxFile: 20_000, MaxTask: 1 << 20, Batch: time.Millisecond})
	out, _ := b.open("web", 1)
	const all = 3000
	b.write(out, numbered(0, all))
	whole := b.eventually("web", all)
	if len(b.files("web")) < 3 {
		t.Fatalf("%d files", len(b.files("web")))
	}
	var places []*api.LogPlace
	for line, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web"}, Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, line.Place)
	}
	for i := 0; i < all; i += 97 {
		if got := b.read(Query{Tasks: []api.TaskID{"web"}, Tail: 1, From: places[i]}); strings.Join(got, "\n") != strings.Join(whole[i+1:], "\n") {
			t.Fatalf("behind line %d come %d lines, and not %d", i, len(got), all-i-1)
		}
	}
	if got := b.read(Query{Tasks: []api.TaskID{"web"}, From: places[all-1]}); len(got) != 0 {
		t.Errorf("behind the last: %q", got)
	}
	first := b.files("web")[0]
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	got := b.read(Query{Tasks: []api.TaskID{"web"}, From: places[0]})
	if len(got) < 100 || !strings.Contains(got[0], "lines are missing here") || got[len(got)-1] != whole[all-1] || got[1] == whole[1] {
		t.Errorf("behind what is gone come %d lines: %.300q", len(got), got)
	}
	for _, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web", "db"}, From: places[0]}) {
		if api.KindOf(err) != api.Invalid {
			t.Errorf("a place of two tasks: %v", err)
		}
	}
}

func TestFollowEndsWithContext(t *testing.T) {
	b := newBench(t)
	b.open("web", 1)
	ctx, cancel := context.WithCancel(b.context())
	cancel()
	n := 0
	for _, err := range b.client.Read(ctx, Query{Tasks: []api.TaskID{"web"}, Tail: -1, Follow: true}) {
		n++
		if err == nil || ctx.Err() == nil {
			t.Fatalf("follow answered error %v", err)
		}
	}
	if n != 1 {
		t.Fatalf("%d answers, want one error", n)
	}
}

// TestFullDisk: the task goes on, what has no room is counted, and when there
// is room again lines are kept again.
func TestFullDisk(t *testing.T) {
	b := newBench(t)
	if err := unix.Mount("tmpfs", b.dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mount a small disk (are you root?): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(b.dir, unix.MNT_DETACH) })
	serveHere(b, Config{Batch: time.Millisecond})
	ballast := filepath.Join(b.dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs := b.open("web", 1)
	const all = 30_000 // about a megabyte
	b.write(out, numbered(0, all))
	_, _ = out.Close(), errs.Close()
	if err := b.client.Close(b.context(), "web", 1); err != nil { // it has read all
		t.Fatal(err)
	}
	b.read(Query{Tasks: []api.TaskID{"web"}}) // and written all, or what is left would fill the room that there is now
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	second, _ := b.open("web", 2)
	b.write(second, "after\n")
	kept, dropped, after, why := 0, 0, false, ""
	for line, err := range b.client.Read(b.context(), Query{Tasks: []api.TaskID{"web"}, Tail: -1, Follow: true}) {
		if err != nil {
			t.Fatalf("kept %d, dropped %d, what came after was read %v: %v", kept, dropped, after, err)
		}
		var n int
		switch {
		case line.Stream == "stdout" && string(line.Data) == "after":
			after = true
		case line.Stream == "stdout":
			kept++
		default:
			if _, err := fmt.Sscanf(string(line.Data), "edgeswarm: %d lines dropped:", &n); err != nil {
				t.Fatalf("line %q", line.Data)
			}
			dropped, why = dropped+n, why+string(line.Data)
		}
		if after && kept+dropped >= all {
			break
		}
	}
	if kept+dropped != all || kept < 1000 || dropped < 1000 || !strings.Contains(why, "no space left on device") {
		t.Fatalf("%d lines kept and %d dropped, of %d: %s", kept, dropped, all, why)
	}
}

// A card that stays full is complained of once, and again after it was not.
func TestAFullDiskIsNewsOnce(t *testing.T) {
	var s spool
	full := unix.ENOSPC
	for i, step := range []struct {
		err  error
		news bool
	}{{nil, false}, {full, true}, {full, false}, {full, false}, {nil, false}, {full, true}} {
		if got := s.news(step.err); got != step.news {
			t.Errorf("step %d: a write that ends with %v is news: %v", i+1, step.err, got)
		}
	}
}

// TestStalledDisk: a disk that takes nothing delays a task once, for a second;
// then its lines are counted instead.
func TestStalledDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "web")
	synctest.Test(t, func(t *testing.T) {
		var total atomic.Int64
		s := newSpool(dir, Config{}.withDefaults(), &total, func(bool) {}, func() {})
		line := record{at: time.Now(), data: make([]byte, 1000)}
		begun := time.Now()
		kept := 0
		for ; total.Load() < fullSpool; kept++ {
			s.add(t.Context(), line)
		}
		if took := time.Since(begun); took != 0 {
			t.Fatalf("waited %v with room left", took)
		}
		for range 100 {
			s.add(t.Context(), line)
		}
		if took := time.Since(begun); took != stallLimit {
			t.Fatalf("waited %v, want %v in all", took, stallLimit)
		}
		if batch, dropped := s.take(); dropped != 100 || total.Load() != 0 {
			t.Fatalf("%d dropped, %d bytes still pending", dropped, total.Load())
		} else if n, end := wholeRecords(batch, len(batch)); n != kept+1 || end != len(batch) {
			t.Fatalf("batch has %d records, want %d and a note", n, kept)
		}
		s.add(t.Context(), line) // the disk took it: no line is dropped any more
		if batch, dropped := s.take(); dropped != 0 || len(batch) != headerSize+1000 {
			t.Fatalf("%d dropped, batch of %d bytes", dropped, len(batch))
		}
	})
}

// TestTornEnd: what a power cut left of a record costs no other.
func TestTornEnd(t *testing.T) {
	b := newBench(t)
	out, _ := b.open("web", 1)
	b.write(out, numbered(0, 5))
	b.eventually("web", 5)
	if err := b.client.Shutdown(b.context()); err != nil {
		t.Fatal(err)
	}
	name := b.files("web")[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(whole, whole[:15]...), 0o600); err != nil {
		t.Fatal(err)
	}
	b.write(out, numbered(5, 5))
	b.pid()
	b.wantNumbered(b.eventually("web", 10), 0)
	b.wantNumbered(b.read(Query{Tasks: []api.TaskID{"web"}, Tail: 7}), 3)
	if n := len(b.files("web")); n != 2 {
		t.Fatalf("%d files, want a new one behind the torn one", n)
	}
}
