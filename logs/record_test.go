package logs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRecordRoundTrip(t *testing.T) {
	at := time.Date(1970, 1, 1, 0, 0, 5, 7, time.UTC) // a board without a clock
	for _, r := range []record{
		{at: at, data: []byte{}},
		{at: at, flags: flagStderr | flagPartial | flagNote, attempt: 1<<32 - 1, data: bytes.Repeat([]byte{marker}, MaxLine)},
	} {
		raw := appendRecord([]byte("before"), r)[6:]
		got, size, err := decodeRecord(append(raw, "behind"...))
		if err != nil || size != len(raw) || !got.at.Equal(r.at) || got.flags != r.flags || got.attempt != r.attempt || !bytes.Equal(got.data, r.data) {
			t.Fatalf("%+v became %+v, size %d of %d, %v", r, got, size, len(raw), err)
		}
		for n := range len(raw) {
			if _, _, err := decodeRecord(raw[:n]); !errors.Is(err, errIncomplete) {
				t.Fatalf("first %d bytes of a record: %v", n, err)
			}
		}
		for i := range min(len(raw), 64) {
			broken := bytes.Clone(raw)
			broken[i] ^= 0x10
			if got, _, err := decodeRecord(broken); err == nil {
				t.Fatalf("byte %d changed and still read as %+v", i, got)
			}
		}
	}
}

// TestReadersPassOverGarbage: what lies between records costs none of them.
func TestReadersPassOverGarbage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var file []byte
	want := 0
	for range 200 {
		junk := make([]byte, rng.IntN(60))
		for i := range junk {
			junk[i] = byte(rng.Uint32())
		}
		if rng.IntN(3) == 0 {
			junk = append(junk, marker, 0, 0xFF) // looks like one, for a while
		}
		file = append(file, junk...)
		file = appendRecord(file, record{at: time.Unix(int64(want), 0), data: []byte("kept")})
		want++
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "task")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(logFile(path, 1), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(logFile(path, 2), nil, 0o600); err != nil { // so that 1 is known to be over
		t.Fatal(err)
	}
	c := newCursor(dir, "task")
	defer c.close()
	got := 0
	for {
		line, ok, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if string(line.Data) != "kept" || line.Time.Unix() != int64(got) {
			t.Fatalf("line %d is %q of %v", got, line.Data, line.Time)
		}
		got++
	}
	if got != want {
		t.Fatalf("%d of %d records found", got, want)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{marker, 0, 0, 0})
	f.Add(appendRecord(nil, record{at: time.Unix(1, 2), flags: flagPartial, attempt: 3, data: []byte("hello")}))
	f.Add(append([]byte{marker, marker, 0}, appendRecord(nil, record{data: []byte{marker}})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size, err := decodeRecord(b)
		if err != nil {
			if !errors.Is(err, errIncomplete) && !errors.Is(err, errCorrupt) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if size < headerSize || size > len(b) || !bytes.Equal(appendRecord(nil, r), b[:size]) {
			t.Fatalf("%x reads as %+v, which is written otherwise", b, r)
		}
	})
}

func FuzzCursor(f *testing.F) {
	good := appendRecord(nil, record{at: time.Unix(1, 2), data: []byte("good")})
	f.Add([]byte{}, []byte{})
	f.Add([]byte{marker, 0, 0xFF, 0xFF}, []byte{marker})
	f.Add(good[:7], good[3:])
	f.Fuzz(func(t *testing.T, before, behind []byte) {
		if bytes.Contains(before, []byte{marker}) || bytes.Contains(behind, []byte{marker}) {
			return // may by rights hold records of its own, or swallow the good one's start
		}
		dir := t.TempDir()
		for number, data := range map[uint64][]byte{1: append(append(bytes.Clone(before), good...), behind...), 2: good} {
			if err := os.WriteFile(logFile(dir, number), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := &cursor{dir: dir}
		defer c.close()
		for range 2 {
			if line, ok, err := c.next(); err != nil || !ok || string(line.Data) != "good" {
				t.Fatalf("good record was not found: %q, %v, %v", line.Data, ok, err)
			}
		}
		if _, ok, err := c.next(); ok || err != nil {
			t.Fatalf("a third record: %v, %v", ok, err)
		}
	})
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	text := "a\n\nb\r\n" + long + "\n" + long + "y\n" + long + long + long + "\nend"
	want := []string{"a", "", "b\r", long, long + "…", "y", long + "…", long + "…", long, "end"}
	for _, step := range []int{1, 7, 4096, MaxLine, 1 << 20} {
		var got []string
		var s splitter
		emit := func(line []byte, partial bool) {
			if partial {
				got = append(got, string(line)+"…")
			} else {
				got = append(got, string(line))
			}
		}
		for b := []byte(text); len(b) > 0; b = b[min(step, len(b)):] {
			s.feed(b[:min(step, len(b))], emit)
		}
		s.end(false, emit)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("in steps of %d: %d lines, want %d", step, len(got), len(want))
		}
	}
}

func TestWholeRecords(t *testing.T) {
	one := appendRecord(nil, record{data: []byte("12345")})
	all := bytes.Repeat(one, 3)
	for n := range len(all) + 1 {
		if count, end := wholeRecords(all, n); count != n/len(one) || end != count*len(one) {
			t.Fatalf("%d bytes hold %d records, end %d", n, count, end)
		}
	}
}
