package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// image makes an image of so many blocks, each filled with its number.
func image(t testing.TB, blocks int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range blocks {
		b.Write(bytes.Repeat([]byte{byte(i + 1)}, blockSize))
	}
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTestCard(t testing.TB, cfg Config) *Card {
	t.Helper()
	if cfg.Overlay == "" {
		cfg.Overlay = filepath.Join(t.TempDir(), "overlay")
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func fill(t testing.TB, c *Card, off int64, n int, b byte) {
	t.Helper()
	if _, err := c.WriteAt(bytes.Repeat([]byte{b}, n), off); err != nil {
		t.Fatal(err)
	}
}

func flush(t testing.TB, c *Card) {
	t.Helper()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// holds checks that a range is one byte, repeated.
func holds(t testing.TB, c *Card, what string, off int64, n int, b byte) {
	t.Helper()
	got := make([]byte, n)
	if _, err := c.ReadAt(got, off); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(got, bytes.Repeat([]byte{b}, n)) {
		t.Errorf("%s: want %d at %d, got %d...", what, b, off, got[0])
	}
}

func TestCardKeepsOnlyWhatWasFlushed(t *testing.T) {
	path := image(t, 4)
	c := newTestCard(t, Config{Image: path, Size: 8 * blockSize})
	holds(t, c, "the image", blockSize, blockSize, 2)
	holds(t, c, "past the image", 4*blockSize, 4*blockSize, 0)
	fill(t, c, 512, 1024, 0xaa)
	flush(t, c)
	fill(t, c, 1024, 512, 0xbb)
	fill(t, c, 6*blockSize, 512, 0xcc)
	holds(t, c, "before the cut", 1024, 512, 0xbb)
	if s := c.Stats(); s != (Stats{Writes: 3, Flushes: 1, Written: 2048, Unflushed: 2}) {
		t.Errorf("%+v", s)
	}
	if err := c.PowerCut(Nothing); err != nil {
		t.Fatal(err)
	}
	holds(t, c, "the image's part of a block", 0, 512, 1)
	holds(t, c, "what was flushed", 512, 1024, 0xaa)
	holds(t, c, "the image's part of a block", 1536, blockSize-1536, 1)
	holds(t, c, "what was not", 6*blockSize, 512, 0)
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(after[:blockSize], bytes.Repeat([]byte{1}, blockSize)) {
		t.Errorf("the image was written: %v", err)
	}
}

// What survives by chance is some of what was written, in pieces no smaller
// than a sector, and the same for the same seed.
func TestCardSurvivesInPart(t *testing.T) {
	const writes = 200
	run := func(seed uint64) (kept, torn int, all []byte) {
		c := newTestCard(t, Config{Image: image(t, 1), Size: writes * blockSize, Seed: seed})
		for i := range int64(writes) {
			fill(t, c, i*blockSize, blockSize, 0xee)
		}
		if err := c.PowerCut(Some); err != nil {
			t.Fatal(err)
		}
		all = make([]byte, c.Size())
		if _, err := c.ReadAt(all, 0); err != nil {
			t.Fatal(err)
		}
		for i := range writes {
			sectors := 0
			for s := 0; s < blockSize; s += sectorSize {
				switch sector := all[i*blockSize+s:][:sectorSize]; {
				case bytes.Equal(sector, bytes.Repeat([]byte{0xee}, sectorSize)):
					sectors++
				case bytes.Contains(sector, []byte{0xee}):
					t.Fatalf("a torn sector: % x", sector)
				}
			}
			switch sectors {
			case 0:
			case blockSize / sectorSize:
				kept++
			default:
				torn++
			}
		}
		return kept, torn, all
	}
	kept, torn, all := run(3)
	if kept < 60 || kept > 120 || torn < 3 || torn > 30 {
		t.Errorf("of %d writes %d survived and %d are torn", writes, kept, torn)
	}
	if _, _, again := run(3); !bytes.Equal(all, again) {
		t.Error("one seed, two cards")
	}
	if _, _, other := run(4); bytes.Equal(all, other) {
		t.Error("two seeds, one card")
	}
}

func TestCardWritesOutItsCacheWhenItIsFull(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 1), Size: 2 * cacheSize})
	for off := int64(0); off <= cacheSize; off += 1 << 20 {
		fill(t, c, off, 1<<20, 0x11)
	}
	if s := c.Stats(); s.Unflushed != 0 {
		t.Errorf("%d writes wait", s.Unflushed)
	}
	if err := c.PowerCut(Nothing); err != nil {
		t.Fatal(err)
	}
	holds(t, c, "what no longer fitted", 0, 1<<20, 0x11)
}

func TestCardFaults(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 2), Size: 8 * blockSize})
	buf := make([]byte, sectorSize)
	fill(t, c, 4*blockSize, sectorSize, 9)
	c.Break(Fault{Writes: true})
	if _, err := c.WriteAt(buf, 0); !errors.Is(err, ErrIO) {
		t.Errorf("write: %v", err)
	}
	if err := c.Flush(); !errors.Is(err, ErrIO) {
		t.Errorf("flush: %v", err)
	}
	holds(t, c, "reading goes on", 0, sectorSize, 1)
	c.Break(Fault{Reads: true})
	if _, err := c.ReadAt(buf, 0); !errors.Is(err, ErrIO) {
		t.Errorf("read: %v", err)
	}
	c.Break(Fault{Full: true})
	if _, err := c.WriteAt(buf, 5*blockSize); !errors.Is(err, ErrFull) {
		t.Errorf("write where nothing was: %v", err)
	}
	fill(t, c, 4*blockSize, sectorSize, 10)
	flush(t, c)
	c.Break(Fault{})
	fill(t, c, 5*blockSize, sectorSize, 11)
	for _, at := range []struct {
		off int64
		n   int
	}{{-1, 1}, {8 * blockSize, 1}, {8*blockSize - 1, 2}, {1 << 62, 1}} {
		if _, err := c.ReadAt(make([]byte, at.n), at.off); !errors.Is(err, errRange) {
			t.Errorf("read %d at %d: %v", at.n, at.off, err)
		}
		if _, err := c.WriteAt(make([]byte, at.n), at.off); !errors.Is(err, errRange) {
			t.Errorf("write %d at %d: %v", at.n, at.off, err)
		}
	}
}

func TestNewCardRefuses(t *testing.T) {
	path := image(t, 2)
	for what, cfg := range map[string]Config{
		"no image":       {Image: path + "x"},
		"too small":      {Image: path, Size: blockSize},
		"half a sector":  {Image: path, Size: 3*blockSize + 1},
		"no such folder": {Image: path, Overlay: "/nonexistent/overlay"},
	} {
		if cfg.Overlay == "" {
			cfg.Overlay = filepath.Join(t.TempDir(), "o")
		}
		if c, err := New(cfg); err == nil {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

// TestCardAgainstAModel does anything in any order to a card and to a model of it:
// two byte slices, one as the board sees it and one as it is on the medium.
// A recording of the same makes the same card at every point.
func TestCardAgainstAModel(t *testing.T) {
	const size = 6 * blockSize
	path := image(t, 3)
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		overlay := filepath.Join(dir, fmt.Sprint("overlay", n))
		c, err := New(Config{Image: path, Size: size, Overlay: overlay})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		rec, err := c.Record(overlay + ".journal")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rec.Close() }()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seen := append(raw, make([]byte, size-len(raw))...)
		medium := bytes.Clone(seen)
		check := func(c *Card, want []byte) {
			got := make([]byte, size)
			if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the card is not as it should be: %v", err)
			}
		}
		media := [][]byte{bytes.Clone(medium)}
		for range rapid.IntRange(1, 20).Draw(t, "operations") {
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				if err := c.Flush(); err != nil {
					t.Fatal(err)
				}
				copy(medium, seen)
			} else {
				off := rapid.IntRange(0, size-1).Draw(t, "off")
				data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, min(2*blockSize, size-off)).Draw(t, "n"))
				if _, err := c.WriteAt(data, int64(off)); err != nil {
					t.Fatal(err)
				}
				copy(seen[off:], data)
			}
			media = append(media, bytes.Clone(medium))
			check(c, seen)
		}
		if rec.Len() != len(media)-1 {
			t.Fatalf("%d operations recorded of %d", rec.Len(), len(media)-1)
		}
		for i, want := range media {
			at, err := rec.Card(i, overlay+".at", Nothing, 0)
			if err != nil {
				t.Fatal(err)
			}
			check(at, want)
			_ = at.Close()
		}
		if err := c.PowerCut(Nothing); err != nil {
			t.Fatal(err)
		}
		check(c, medium)
	})
}

func TestRecordingBeginsWithWhatWaits(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 2)})
	journal := filepath.Join(t.TempDir(), "journal")
	fill(t, c, 0, sectorSize, 0x77)
	rec, err := c.Record(journal)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if _, err := c.Record(journal + "2"); err == nil {
		t.Error("a card is recorded twice")
	}
	flush(t, c)
	for n, want := range []byte{1, 1, 0x77} {
		at, err := rec.Card(n, filepath.Join(t.TempDir(), "o"), Nothing, 0)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, at, fmt.Sprint("at ", n), 0, sectorSize, want)
		_ = at.Close()
	}
	if _, err := rec.Card(3, filepath.Join(t.TempDir(), "o"), Nothing, 0); err == nil {
		t.Error("a point that was not recorded has a card")
	}
}

func TestExport(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 2), Size: 4 << 20})
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		fill(t, c, r.Int64N(c.Size()-sectorSize), sectorSize, byte(r.IntN(256)))
	}
	path := filepath.Join(t.TempDir(), "whole")
	if err := c.Export(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, c.Size())
	if _, err := c.ReadAt(want, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the export of %d bytes differs: %v", len(got), err)
	}
}
