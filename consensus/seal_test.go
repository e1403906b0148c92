package consensus

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func testSeal(t testing.TB, key byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return must[cipher.AEAD](t)(cipher.NewGCM(block))
}

func sealedDisk(t testing.TB, path string, seal cipher.AEAD) *disk {
	t.Helper()
	return must[*disk](t)(openDisk(path, Config{Logger: slog.New(slog.DiscardHandler), Seal: seal}.withDefaults()))
}

func secretEntry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte("s3cret-word")}
}

func TestEntriesAreSealedOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	d := sealedDisk(t, path, nil)
	before := &raft.Log{Index: 1, Term: 1, Type: raft.LogCommand, Data: []byte("from before there was a key")}
	if err := d.StoreLog(before); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	d = sealedDisk(t, path, testSeal(t, 1))
	members := &raft.Log{Index: 3, Term: 1, Type: raft.LogConfiguration, Data: []byte("members")}
	empty := &raft.Log{Index: 4, Term: 1, Type: raft.LogCommand}
	if err := d.StoreLogs([]*raft.Log{secretEntry(2), members, empty}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*raft.Log{before, secretEntry(2), members, empty} {
		var got raft.Log
		if err := d.GetLog(want.Index, &got); err != nil || !bytes.Equal(got.Data, want.Data) || got.Type != want.Type {
			t.Errorf("entry %d: %v, %+v", want.Index, err, got)
		}
	}
	if err := d.verify(0); err != nil {
		t.Error(err)
	}
	if raw := must[[]byte](t)(os.ReadFile(path)); bytes.Contains(raw, []byte("s3cret")) {
		t.Error("the file has it in the clear")
	}
	// What was sealed for one index is no other entry.
	err := d.db.Update(func(tx *bbolt.Tx) error {
		var raft2 raft.Log
		if err := decodeEntry(2, tx.Bucket(entriesBucket).Get(keyOf(2)), &raft2); err != nil {
			return err
		}
		raft2.Index = 4
		return tx.Bucket(entriesBucket).Put(keyOf(4), encodeEntry(&raft2))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.GetLog(4, &raft.Log{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an entry that was moved: %v", err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	for name, seal := range map[string]cipher.AEAD{"another key": testSeal(t, 2), "no key": nil} {
		d = sealedDisk(t, path, seal)
		if err := d.verify(0); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "sealed") {
			t.Errorf("with %s: %v", name, err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func storeSnapshot(t *testing.T, store raft.SnapshotStore, data []byte) (id string) {
	t.Helper()
	_, transport := raft.NewInmemTransport("")
	sink, err := store.Create(1, 10, 1, raft.Configuration{}, 1, transport)
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; { // in uneven parts
		n := min(len(rest), 1000+len(rest)%7777)
		if _, err := sink.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	return sink.ID()
}

func TestSnapshotsAreSealedOnDisk(t *testing.T) {
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5} {
		dir := t.TempDir()
		files := must[*raft.FileSnapshotStore](t)(raft.NewFileSnapshotStore(dir, 1, io.Discard))
		data := bytes.Repeat([]byte("s3cret-word "), size/12+1)[:size]
		id := storeSnapshot(t, vault{files, testSeal(t, 1)}, data)
		meta, r, err := vault{files, testSeal(t, 1)}.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data) || meta.Size != int64(size) || r.Close() != nil {
			t.Errorf("%d bytes: read %d of %d: %v", size, len(got), meta.Size, err)
		}
		raw := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "snapshots", id, "state.bin")))
		if bytes.Contains(raw, []byte("s3cret")) {
			t.Errorf("%d bytes: the file has them in the clear", size)
		}
		_, r, err = vault{files, testSeal(t, 2)}.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = io.ReadAll(r); !errors.Is(err, ErrCorrupt) || len(got) > 0 {
			t.Errorf("%d bytes: with another key: %d bytes, %v", size, len(got), err)
		}
		_ = r.Close()
	}
}

func TestSnapshotOfBeforeThereWasAKeyIsRead(t *testing.T) {
	files := must[*raft.FileSnapshotStore](t)(raft.NewFileSnapshotStore(t.TempDir(), 1, io.Discard))
	for _, data := range []string{"", "short", strings.Repeat("long ", 50000)} {
		meta, r, err := vault{files, testSeal(t, 1)}.Open(storeSnapshot(t, files, []byte(data)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != data || meta.Size != int64(len(data)) || r.Close() != nil {
			t.Errorf("%d bytes: read %d of %d: %v", len(data), len(got), meta.Size, err)
		}
	}
}

// TestSealedChunksAreInTheirPlaces: none may be missing at the end, left out, or
// somewhere else.
func TestSealedChunksAreInTheirPlaces(t *testing.T) {
	dir := t.TempDir()
	files := must[*raft.FileSnapshotStore](t)(raft.NewFileSnapshotStore(dir, 1, io.Discard))
	id := storeSnapshot(t, vault{files, testSeal(t, 1)}, make([]byte, 3*chunkSize))
	raw := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "snapshots", id, "state.bin")))
	head, full := len(vaultMark)+prefixSize, chunkSize+testSeal(t, 1).Overhead()
	body := raw[head:]
	for name, bad := range map[string][]byte{
		"cut after two chunks": body[:2*full],
		"cut within one":       body[:2*full+100],
		"without the first":    body[full:],
		"in another order":     append(append(append([]byte{}, body[full:2*full]...), body[:full]...), body[2*full:]...),
		"nothing at all":       nil,
	} {
		r := &unsealingReader{from: bufio.NewReader(bytes.NewReader(bad)), chunks: chunks{seal: testSeal(t, 1), nonce: make([]byte, nonceSize)}}
		copy(r.nonce, raw[len(vaultMark):head])
		if _, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
