package agent

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
)

// diskVersion is the format of the agent's folder. A newer one is refused:
// what it holds could not be kept.
const diskVersion = 1

// disk is the agent's memory over restarts and reboots: the assignment set as
// it was last acknowledged, and how far each task has come.
type disk struct {
	db   *bbolt.DB
	seal cipher.AEAD // for secrets; may be nil
	// note is told of every write and how it went.
	note func(error)
	// fault lets a test fail one operation, named by its op.
	fault func(op string) error
}

// record is what must be remembered of a task: enough that after a reboot
// attempt numbers go on increasing and what ended stays so.
type record struct {
	// Attempt that began last, and in which boot of the board.
	Attempt int
	BootID  string
	// Restarts that count against the policy, and how many failures came one
	// soon after the other: see history.
	Restarts int `json:",omitempty"`
	Streak   int `json:",omitempty"`
	// Started is set before the process of a task that must not run twice
	// starts: its policy allows no other attempt.
	Started bool `json:",omitempty"`
	// Healthy is the last attempt that its health check has found healthy.
	Healthy int `json:",omitempty"`
	// Draining is set when the task began to stop: should edged be restarted in
	// the middle, it goes on stopping, also if another was to take over.
	Draining bool `json:",omitempty"`
	// Final is set when the task has ended and no attempt follows.
	Final *api.TaskStatus `json:",omitempty"`
}

var (
	bucketMeta    = []byte("meta")
	bucketItems   = []byte("items")
	bucketRecords = []byte("records")
	keySet        = []byte("set")
)

func openDisk(dir string, seal cipher.AEAD) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkVersion(filepath.Join(dir, "VERSION")); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "agent.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use: another edged runs on this state directory; stop it first", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &disk{db: db, seal: seal, note: func(error) {}}, nil
}

func checkVersion(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return host.WriteFile(path, fmt.Appendln(nil, diskVersion), 0o600)
	}
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("%s does not hold a version: %w", path, err)
	}
	if version > diskVersion {
		return fmt.Errorf("%s says %d, but this edged reads up to %d: install the newer edged again", path, version, diskVersion)
	}
	return nil
}

func (d *disk) close() error { return d.db.Close() }

// load reads everything. Fields unknown to this build are passed over: a board
// whose edged was set back a version goes on with its tasks, and its leader
// sends it the set anew because the set's ID depends on the version.
func (d *disk) load() (set, map[api.TaskID]record, error) {
	s, records := set{items: map[api.ItemKey]api.Item{}}, map[api.TaskID]record{}
	err := d.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketMeta); b != nil && b.Get(keySet) != nil {
			if err := api.Decode(b.Get(keySet), &s.id); err != nil {
				return err
			}
		}
		if b := tx.Bucket(bucketItems); b != nil {
			err := b.ForEach(func(_, raw []byte) error {
				item, err := decodeItem(raw, d.seal)
				if errors.Is(err, errUnsealed) {
					// The node's key is another now. With no set held, the leader
					// sends all of it anew.
					s.id = api.SetID{}
					return nil
				}
				s.items[item.Key()] = item
				return err
			})
			if err != nil {
				return err
			}
		}
		if b := tx.Bucket(bucketRecords); b != nil {
			return b.ForEach(func(id, raw []byte) error {
				var r record
				err := api.Decode(raw, &r)
				records[api.TaskID(id)] = r
				return err
			})
		}
		return nil
	})
	if err != nil {
		return set{}, nil, fmt.Errorf("read %s: %w", d.db.Path(), err)
	}
	return s, records, nil
}

// Operations, for fault.
const (
	opSet    = "write set"
	opRecord = "write record"
)

func (d *disk) update(op string, f func(*bbolt.Tx) error) (err error) {
	defer func() { d.note(err) }()
	if d.fault != nil {
		err = d.fault(op)
	}
	if err == nil {
		err = d.db.Update(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// saveSet makes the disk hold a change, in one transaction.
func (d *disk) saveSet(c change) error {
	return d.update(opSet, func(tx *bbolt.Tx) error {
		items, err := tx.CreateBucketIfNotExists(bucketItems)
		if err != nil {
			return err
		}
		for _, key := range c.gone {
			if err := items.Delete(itemKey(key)); err != nil {
				return err
			}
		}
		for _, item := range c.put {
			raw, err := encodeItem(item, d.seal)
			if err == nil {
				err = items.Put(itemKey(item.Key()), raw)
			}
			if err != nil {
				return err
			}
		}
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		return putEncoded(meta, keySet, c.next.id)
	})
}

func putEncoded(b *bbolt.Bucket, key []byte, v any) error {
	raw, err := api.Encode(v)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}

func itemKey(k api.ItemKey) []byte { return []byte(k.Kind + "\x00" + k.Key) }

// saveRecord remembers a task's progress; dropRecord forgets it. Neither
// writes what is so already.
func (d *disk) saveRecord(id api.TaskID, r record) error {
	raw, err := api.Encode(r)
	if err != nil {
		return err
	}
	if bytes.Equal(d.rawRecord(id), raw) {
		return nil
	}
	return d.update(opRecord, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketRecords)
		if err != nil {
			return err
		}
		return b.Put([]byte(id), raw)
	})
}

func (d *disk) dropRecord(id api.TaskID) error {
	if d.rawRecord(id) == nil {
		return nil
	}
	return d.update(opRecord, func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketRecords); b != nil {
			return b.Delete([]byte(id))
		}
		return nil
	})
}

func (d *disk) rawRecord(id api.TaskID) (raw []byte) {
	_ = d.db.View(func(tx *bbolt.Tx) error { // fails only on a closed database, as the write that follows does
		if b := tx.Bucket(bucketRecords); b != nil {
			raw = bytes.Clone(b.Get([]byte(id)))
		}
		return nil
	})
	return raw
}
