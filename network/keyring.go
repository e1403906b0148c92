package network

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/internal/host"
	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

// keyring holds the board's keys for encrypted networks: private, made here, and
// never anywhere else than in its file.
//
// A key is turned in three steps, so that no peer is spoken to with a key that it
// has not heard of: the next one is announced beside the present; once the fleet's
// state has it, and the boards have had time to hear of it, it is used; and the
// old one is forgotten. Each step is on disk before it is told.
type keyring struct {
	file string
	keys ringKeys
	// known is since when the fleet's state is known to have the next key; zero
	// while it is not.
	known time.Time
}

// ringKeys is what lasts.
type ringKeys struct {
	Key  wireguard.Key
	Next wireguard.Key `json:",omitzero"`
	// Fleet that Turns were counted by; a turn is due when it counts more.
	Fleet api.FleetID
	Turns uint64
	// Due is set while a turn is wanted that can wait until all peers are there.
	Due bool
}

// settle is how long after the fleet's state has a board's next key the board
// begins to use it. Boards that the leader reaches hear of it in well under one.
const settle = 5 * time.Second

// open reads the file, or makes a first key.
func (k *keyring) open() error {
	if k.keys.Key != (wireguard.Key{}) {
		return nil
	}
	raw, err := os.ReadFile(k.file)
	if errors.Is(err, os.ErrNotExist) {
		key, err := wireguard.NewKey()
		if err != nil {
			return fmt.Errorf("make a key for encrypted networks: %w", err)
		}
		return k.save(ringKeys{Key: key})
	}
	if err != nil {
		return fmt.Errorf("read the key for encrypted networks: %w", err)
	}
	var keys ringKeys
	if err := api.Decode(raw, &keys); err != nil || keys.Key == (wireguard.Key{}) {
		return fmt.Errorf("the key for encrypted networks is damaged: remove %s, and the board makes another (%v)", k.file, err)
	}
	k.keys = keys
	return nil
}

func (k *keyring) save(keys ringKeys) error {
	raw, err := api.Encode(keys)
	if err == nil {
		err = host.WriteFile(k.file, raw, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the key for encrypted networks: %w", err)
	}
	k.keys = keys
	return nil
}

// public are the keys to announce: the one in use, and the next if there is one.
func (k *keyring) public() [][]byte {
	key := k.keys.Key.Public()
	all := [][]byte{key[:]}
	if k.turning() {
		next := k.keys.Next.Public()
		all = append(all, next[:])
	}
	return all
}

// turning reports whether a turn is under way.
func (k *keyring) turning() bool { return k.keys.Next != (wireguard.Key{}) }

// due notes that a turn is wanted, at the next time that all peers can hear of it.
func (k *keyring) due() error {
	keys := k.keys
	keys.Due = true
	return k.save(keys)
}

// step does what is to be done now. Reached tells whether every peer was heard of
// lately: one that was not would miss the announcement, and without a manager
// near it would not find the board again.
func (k *keyring) step(now time.Time, f *agent.Fabric, reached bool) (turned bool, err error) {
	keys := k.keys
	switch {
	case f.Fleet == "":
		return false, nil
	case keys.Fleet != f.Fleet:
		keys.Fleet, keys.Turns = f.Fleet, f.Mesh.Turns
		return false, k.save(keys)
	case k.turning():
		return k.finish(now, f)
	case f.Mesh.Turns == keys.Turns && !(keys.Due && reached):
		return false, nil
	}
	keys.Turns, keys.Due = f.Mesh.Turns, false
	if keys.Next, err = wireguard.NewKey(); err != nil {
		return false, fmt.Errorf("make a key for encrypted networks: %w", err)
	}
	k.known = time.Time{}
	return false, k.save(keys)
}

// finish takes the next key in use once everybody had the time to hear of it.
func (k *keyring) finish(now time.Time, f *agent.Fabric) (turned bool, err error) {
	next := k.keys.Next.Public()
	switch {
	case !slices.ContainsFunc(f.Mesh.Keys, func(key []byte) bool { return string(key) == string(next[:]) }):
		k.known = time.Time{}
		return false, nil
	case k.known.IsZero():
		k.known = now
		return false, nil
	case now.Sub(k.known) < settle:
		return false, nil
	}
	keys := k.keys
	keys.Key, keys.Next = keys.Next, wireguard.Key{}
	return true, k.save(keys)
}
