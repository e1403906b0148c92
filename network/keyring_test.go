package network

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/agent"
	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/network/wireguard"
)

// ring is a keyring with the fleet's state, which hears of what it announces when
// hear is called.
type ring struct {
	t *testing.T
	keyring
	now time.Time
	f   agent.Fabric
}

func newRing(t *testing.T) *ring {
	r := &ring{t: t, keyring: keyring{file: filepath.Join(t.TempDir(), "key")}, now: time.Unix(1e9, 0), f: agent.Fabric{Fleet: "fleet"}}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *ring) hear() { r.f.Mesh.Keys = r.public() }

// after is a step a while later.
func (r *ring) after(d time.Duration, reached bool) (turned bool) {
	r.t.Helper()
	r.now = r.now.Add(d)
	turned, err := r.step(r.now, &r.f, reached)
	if err != nil {
		r.t.Fatal(err)
	}
	return turned
}

// restart is the keyring of a program that begins with what is on disk.
func (r *ring) restart() {
	r.t.Helper()
	r.keyring = keyring{file: r.file}
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
}

func TestAKeyIsUsedOnceItIsKnown(t *testing.T) {
	r := newRing(t)
	r.hear()
	first := r.keys.Key
	r.after(0, true) // learns which fleet it is in
	for range 3 {
		if r.after(time.Hour, true); r.turning() || r.keys.Key != first {
			t.Fatal("it turned unasked")
		}
	}
	r.f.Mesh.Turns = 1
	r.after(0, false) // what is forced does not wait for peers
	next := r.keys.Next
	if !r.turning() || len(r.public()) != 2 || !bytes.Equal(r.public()[1], pub(next)) {
		t.Fatalf("announces %x", r.public())
	}
	if r.after(time.Hour, true) {
		t.Fatal("it is used before the fleet's state has it")
	}
	r.hear()
	r.after(0, true)
	if r.after(settle-time.Millisecond, true) {
		t.Fatal("it is used before others had the time to hear of it")
	}
	r.restart()
	if r.keys.Next != next || r.after(time.Minute, true) {
		t.Fatal("a restart begins the time anew, with the same keys")
	}
	if !r.after(settle, true) || r.keys.Key != next || r.turning() {
		t.Fatalf("not used: %v", r.turning())
	}
	r.restart()
	if r.keys.Key != next || len(r.public()) != 1 {
		t.Error("what is used is not on disk")
	}
	if r.after(time.Hour, true); r.turning() {
		t.Error("it turned twice for one wish")
	}
}

func TestAKeyThatIsDueWaitsForPeers(t *testing.T) {
	r := newRing(t)
	r.hear()
	r.after(0, true)
	if err := r.due(); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if r.after(24*time.Hour, false); r.turning() {
		t.Error("it turned while a peer could not hear of it")
	}
	if r.after(0, true); !r.turning() {
		t.Error("it did not turn with all peers there")
	}
	r.hear()
	r.after(0, true)
	if !r.after(settle, true) {
		t.Error("not used")
	}
	if r.after(time.Hour, true); r.turning() {
		t.Error("it turned twice for one wish")
	}
}

// TestAnotherFleetCountsForItself: a board that joins a fleet that has turned keys
// does not turn its own for that.
func TestAnotherFleetCountsForItself(t *testing.T) {
	r := newRing(t)
	r.f.Fleet, r.f.Mesh.Turns = "other", 7
	r.after(0, true)
	if r.after(0, true); r.turning() {
		t.Error("it turned for wishes of before its time")
	}
	r.f.Mesh.Turns = 8
	if r.after(0, true); !r.turning() {
		t.Error("it did not turn")
	}
}

func TestADamagedKeyIsNotReplacedUnasked(t *testing.T) {
	for _, content := range []string{"", "nonsense"} {
		k := keyring{file: filepath.Join(t.TempDir(), "key")}
		if err := os.WriteFile(k.file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.open(); err == nil || !strings.Contains(err.Error(), "remove "+k.file) {
			t.Errorf("%q: %v", content, err)
		}
	}
	r := newRing(t)
	if info, err := os.Stat(r.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func pub(k wireguard.Key) []byte { p := k.Public(); return p[:] }

// TestKeysOfPeers: what an end says is not trusted to be keys.
func TestKeysOfPeers(t *testing.T) {
	good := bytes.Repeat([]byte{7}, 32)
	for want, end := range map[int]*api.MeshEnd{
		0: nil, 1: {Keys: [][]byte{good, good[:31], append(good, 1), nil}}, 2: {Keys: [][]byte{good, good, good}},
	} {
		if got := len(keysOf(api.Peer{Mesh: end})); got != want {
			t.Errorf("%d keys of %+v, want %d", got, end, want)
		}
	}
}
