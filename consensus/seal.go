package consensus

import (
	"crypto/rand"
	"fmt"

	"github.com/hashicorp/raft"
)

// sealedType marks, in its type, an entry whose data is sealed: random nonce,
// then what Config.Seal makes of it, bound to the entry's index. Only commands
// are: the rest is raft's own, and tells of no user's data.
const sealedType raft.LogType = 0x80

// sealed is the entry as it is kept on disk.
func (d *disk) sealed(entry *raft.Log) *raft.Log {
	if d.seal == nil || entry.Type != raft.LogCommand {
		return entry
	}
	next := *entry
	next.Type |= sealedType
	nonce := make([]byte, d.seal.NonceSize(), d.seal.NonceSize()+len(entry.Data)+d.seal.Overhead())
	_, _ = rand.Read(nonce) // never fails: see crypto/rand
	next.Data = d.seal.Seal(nonce, nonce, entry.Data, keyOf(entry.Index))
	return &next
}

// unseal is the inverse, in place. What was kept before there was a key is as it was.
func (d *disk) unseal(entry *raft.Log) error {
	if entry.Type&sealedType == 0 {
		return nil
	}
	if d.seal == nil || len(entry.Data) < d.seal.NonceSize() {
		return fmt.Errorf("entry %d is sealed: %w", entry.Index, ErrCorrupt)
	}
	nonce, rest := entry.Data[:d.seal.NonceSize()], entry.Data[d.seal.NonceSize():]
	data, err := d.seal.Open(rest[:0], nonce, rest, keyOf(entry.Index))
	if err != nil {
		return fmt.Errorf("entry %d is sealed with another key: %w", entry.Index, ErrCorrupt)
	}
	entry.Type &^= sealedType
	entry.Data = nil
	if len(data) > 0 {
		entry.Data = data
	}
	return nil
}
