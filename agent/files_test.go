package agent

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func testSeal(key byte) cipher.AEAD {
	block, err := aes.NewCipher(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		panic(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return seal
}

func withSecret(id api.TaskID) (*api.Task, []api.Item) {
	t := task(id)
	mode := uint32(0o400)
	t.Spec.ContainerSpec.Secrets = []api.SecretReference{{SecretID: "s1", SecretName: "pw", File: api.FileTarget{Mode: &mode}}}
	t.Spec.ContainerSpec.Configs = []api.ConfigReference{{ConfigID: "c1", ConfigName: "conf", File: api.FileTarget{Name: "/etc/app.conf"}}}
	return t, []api.Item{
		{Secret: &api.Secret{ID: "s1", Spec: api.DataSpec{Data: []byte("hunter2")}}},
		{Config: &api.Config{ID: "c1", Spec: api.DataSpec{Data: []byte("x=1")}}},
	}
}

func TestSecretsArePlacedAndTakenAway(t *testing.T) {
	inBubble(t, func(b *board) {
		user, items := withSecret("a")
		b.leader.assign(append(items, api.Item{Task: user})...)
		b.after(time.Second)
		b.want("a", api.TaskRunning, 1)
		c, ok := b.host.Spec("a.1")
		if !ok {
			t.Fatal("no container")
		}
		seen := map[string]string{}
		for _, m := range c.Mounts {
			if raw, err := os.ReadFile(m.Source); err == nil && m.ReadOnly {
				seen[m.Target] = string(raw)
			}
		}
		if seen["/run/secrets/pw"] != "hunter2" || seen["/etc/app.conf"] != "x=1" {
			t.Errorf("the task sees %v", seen)
		}
		info, err := os.Stat(filepath.Join(b.files, "a", "0"))
		if err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("mode %v, %v", info, err)
		}
		b.leader.desire("a", api.TaskShutdown)
		b.after(time.Second)
		if entries, _ := os.ReadDir(b.files); len(entries) != 0 {
			t.Error("secrets lie about after their task")
		}
	})
}

func TestATaskWaitsForItsSecret(t *testing.T) {
	inBubble(t, func(b *board) {
		user, items := withSecret("a")
		b.leader.tasks(user)
		b.after(time.Minute)
		if s := b.want("a", api.TaskPreparing, 1); s.Message == "" {
			t.Error("nothing says what it waits for")
		}
		b.leader.assign(items...)
		b.after(15 * time.Second)
		b.want("a", api.TaskRunning, 1)
	})
}

func TestSecretsOutlastARebootInIsolation(t *testing.T) {
	inBubble(t, func(b *board) {
		user, items := withSecret("a")
		b.leader.assign(append(items, api.Item{Task: user})...)
		b.after(time.Second)
		b.leader.vanish()
		b.unplug()
		if err := os.RemoveAll(b.files); err != nil { // it was memory
			t.Fatal(err)
		}
		b.begin()
		b.after(3 * time.Second)
		b.want("a", api.TaskRunning, 2)
		if raw, err := os.ReadFile(filepath.Join(b.files, "a", "0")); err != nil || string(raw) != "hunter2" {
			t.Errorf("%q, %v", raw, err)
		}
	})
}

func TestSecretsAreSealedOnDisk(t *testing.T) {
	dir := t.TempDir()
	d, err := openDisk(dir, testSeal(1))
	if err != nil {
		t.Fatal(err)
	}
	_, items := withSecret("a")
	held := set{id: api.SetID{Epoch: 1, Seq: 7}, items: map[api.ItemKey]api.Item{}}
	if err := d.saveSet(change{next: held, put: items}); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "agent.db"))
	if err != nil || bytes.Contains(raw, []byte("hunter2")) {
		t.Errorf("the disk tells the secret (%v)", err)
	}
	for key, want := range map[byte]struct {
		secrets int
		seq     uint64
	}{1: {1, 7}, 2: {0, 0}} { // with another key the set is to be sent anew
		d, err := openDisk(dir, testSeal(key))
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := d.load()
		if err != nil {
			t.Fatal(err)
		}
		secrets := 0
		for _, item := range s.items {
			if item.Secret != nil && string(item.Secret.Spec.Data) == "hunter2" {
				secrets++
			}
		}
		if secrets != want.secrets || s.id.Seq != want.seq {
			t.Errorf("key %d: %d secrets, set %v", key, secrets, s.id)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzDecodeItem(f *testing.F) {
	_, items := withSecret("a")
	for _, item := range items {
		raw, err := encodeItem(item, testSeal(1))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = decodeItem(raw, testSeal(1)) })
}
