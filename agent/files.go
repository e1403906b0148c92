package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/edgeswarm/edgeswarm/api"
)

// files writes a task's secrets and configs to its folder in memory and answers
// them as mounts. One that the set does not hold is an error: the leader may
// send it yet.
func (w *worker) files() ([]api.Mount, error) {
	spec := w.task.Spec.ContainerSpec
	if len(spec.Secrets) == 0 && len(spec.Configs) == 0 {
		return nil, nil
	}
	dir := w.filesDir()
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make folder for secrets: %w", err)
	}
	var mounts []api.Mount
	add := func(data []byte, target string, how api.FileTarget) error {
		source := filepath.Join(dir, strconv.Itoa(len(mounts)))
		if err := writeSecret(source, data, how); err != nil {
			return fmt.Errorf("write %s: %w", target, err)
		}
		mounts = append(mounts, api.Mount{Type: api.MountBind, Source: source, Target: target, ReadOnly: true})
		return nil
	}
	for _, ref := range spec.Secrets {
		secret := w.a.secret(ref.SecretID)
		if secret == nil {
			return nil, fmt.Errorf("secret %s is not on this node: it was removed, or is on its way", ref.SecretName)
		}
		if err := add(secret.Spec.Data, ref.Path(), ref.File); err != nil {
			return nil, err
		}
	}
	for _, ref := range spec.Configs {
		config := w.a.config(ref.ConfigID)
		if config == nil {
			return nil, fmt.Errorf("config %s is not on this node: it was removed, or is on its way", ref.ConfigName)
		}
		if err := add(config.Spec.Data, ref.Path(), ref.File); err != nil {
			return nil, err
		}
	}
	return mounts, nil
}

// writeSecret makes a file anew with its owner before its content: at no time
// may another read it.
func writeSecret(path string, data []byte, how api.FileTarget) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chown(int(how.UID), int(how.GID)); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Chmod(os.FileMode(how.Permissions()))
}

func (w *worker) filesDir() string { return filepath.Join(w.a.cfg.FilesDir, string(w.id)) }

func (w *worker) removeFiles() error { return os.RemoveAll(w.filesDir()) }

// sweepFiles removes what tasks that are no longer assigned left.
func (a *Agent) sweepFiles(keep map[api.TaskID]*api.Task) error {
	entries, err := os.ReadDir(a.cfg.FilesDir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if keep[api.TaskID(e.Name())] == nil {
			if err := os.RemoveAll(filepath.Join(a.cfg.FilesDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Agent) secret(id api.SecretID) *api.Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.items[api.ItemKey{Kind: "secret", Key: string(id)}].Secret
}

func (a *Agent) config(id api.ConfigID) *api.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.items[api.ItemKey{Kind: "config", Key: string(id)}].Config
}
