package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

var _ raft.LogStore = (*disk)(nil)

// FirstIndex implements raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) { return d.edge((*bbolt.Cursor).First) }

// LastIndex implements raft.LogStore.
func (d *disk) LastIndex() (uint64, error) { return d.edge((*bbolt.Cursor).Last) }

func (d *disk) edge(move func(*bbolt.Cursor) ([]byte, []byte)) (index uint64, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		if k, _ := move(tx.Bucket(entriesBucket).Cursor()); k != nil {
			index = indexOf(k)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	return index, nil
}

// GetLog implements raft.LogStore.
func (d *disk) GetLog(index uint64, entry *raft.Log) error {
	err := d.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(entriesBucket).Get(keyOf(index))
		if raw == nil {
			return raft.ErrLogNotFound
		}
		if err := decodeEntry(index, raw, entry); err != nil {
			return err
		}
		return d.unseal(entry)
	})
	if err != nil && err != raft.ErrLogNotFound { // raft compares it
		return fmt.Errorf("read log: %w", err)
	}
	return err
}

// StoreLog implements raft.LogStore.
func (d *disk) StoreLog(entry *raft.Log) error { return d.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends a batch in one transaction. What lies behind it goes: raft
// was told that it was never stored (a commit whose flush failed may still
// have reached the file), and a later start would take it for the log's end.
func (d *disk) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	var size int64
	last := entries[len(entries)-1].Index
	err := d.update("append", func(tx *bbolt.Tx) error {
		b := tx.Bucket(entriesBucket)
		b.FillPercent = 1 // keys only ever grow
		for _, entry := range entries {
			raw := encodeEntry(d.sealed(entry))
			size += int64(len(raw))
			if err := b.Put(keyOf(entry.Index), raw); err != nil {
				return err
			}
		}
		return cut(b, last+1, ^uint64(0))
	})
	if err != nil {
		return fmt.Errorf("append to log: %w", err)
	}
	d.mu.Lock()
	d.refusal.tries = 0
	d.mu.Unlock()
	d.appended.Store(last)
	d.appends.give()
	if d.sinceSnap.Add(size) > d.growLimit {
		d.sinceSnap.Store(0)
		poke(d.grown)
	}
	return nil
}

// DeleteRange implements raft.LogStore; both ends are included.
func (d *disk) DeleteRange(first, last uint64) error {
	err := d.update("cut", func(tx *bbolt.Tx) error { return cut(tx.Bucket(entriesBucket), first, last) })
	if err != nil {
		return fmt.Errorf("cut log: %w", err)
	}
	d.sinceSnap.Store(0)
	if end, err := d.LastIndex(); err == nil {
		d.appended.Store(end)
	}
	return nil
}

func cut(b *bbolt.Bucket, first, last uint64) error {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(keyOf(first)); k != nil && indexOf(k) <= last; k, _ = c.Next() {
		keys = append(keys, k)
	}
	for _, k := range keys { // deleting under a moving cursor skips keys
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// verify reads every entry from the end of the snapshot on, so that damage is
// found when the node starts and not when it is needed.
func (d *disk) verify(snapshot uint64) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		want := uint64(0)
		return tx.Bucket(entriesBucket).ForEach(func(k, v []byte) error {
			var entry raft.Log
			index := indexOf(k)
			if err := errors.Join(decodeEntry(index, v, &entry), d.unseal(&entry)); err != nil {
				return err
			}
			if index > snapshot+1 && want != index {
				return fmt.Errorf("entry %d is missing: %w", max(want, snapshot+1), ErrCorrupt)
			}
			want = index + 1
			return nil
		})
	})
}

func keyOf(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func indexOf(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An entry is stored as: CRC-32C of its index and the rest; type; term and
// time (Unix nanoseconds, 0 for none) as varints; length of extensions;
// extensions; data.
func encodeEntry(entry *raft.Log) []byte {
	raw := make([]byte, 4, 4+1+3*binary.MaxVarintLen64+len(entry.Extensions)+len(entry.Data))
	raw = append(raw, byte(entry.Type))
	raw = binary.AppendUvarint(raw, entry.Term)
	var at int64
	if !entry.AppendedAt.IsZero() {
		at = entry.AppendedAt.UnixNano()
	}
	raw = binary.AppendVarint(raw, at)
	raw = binary.AppendUvarint(raw, uint64(len(entry.Extensions)))
	raw = append(raw, entry.Extensions...)
	raw = append(raw, entry.Data...)
	binary.BigEndian.PutUint32(raw, checksum(entry.Index, raw[4:]))
	return raw
}

func checksum(index uint64, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(keyOf(index), castagnoli), castagnoli, body)
}

// decodeEntry copies what it needs: raw is gone when the transaction ends.
func decodeEntry(index uint64, raw []byte, entry *raft.Log) error {
	bad := func() error { return fmt.Errorf("entry %d: %w", index, ErrCorrupt) }
	if len(raw) < 5 || binary.BigEndian.Uint32(raw) != checksum(index, raw[4:]) {
		return bad()
	}
	body := raw[5:]
	term, n := binary.Uvarint(body)
	if n <= 0 {
		return bad()
	}
	body = body[n:]
	at, n := binary.Varint(body)
	if n <= 0 {
		return bad()
	}
	body = body[n:]
	ext, n := binary.Uvarint(body)
	if n <= 0 || ext > uint64(len(body)-n) {
		return bad()
	}
	body = append([]byte(nil), body[n:]...)
	*entry = raft.Log{Index: index, Term: term, Type: raft.LogType(raw[4])}
	if ext > 0 {
		entry.Extensions = body[:ext:ext]
	}
	if data := body[ext:]; len(data) > 0 {
		entry.Data = data
	}
	if at != 0 {
		entry.AppendedAt = time.Unix(0, at)
	}
	return nil
}
