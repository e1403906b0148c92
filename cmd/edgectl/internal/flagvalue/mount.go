package flagvalue

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// fields splits "key=value,key,…"; a field with a comma is written in quotes.
func fields(s string) ([]Pair, error) {
	record, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, errors.New("it can't be read: write key=value pairs with commas between them")
	}
	pairs := make([]Pair, len(record))
	for i, f := range record {
		key, value, has := strings.Cut(f, "=")
		pairs[i] = Pair{strings.ToLower(strings.TrimSpace(key)), value}
		if !has && pairs[i].Key != "readonly" && pairs[i].Key != "ro" {
			return nil, fmt.Errorf("%q has no value: write key=value pairs with commas between them", f)
		}
	}
	return pairs, nil
}

// Mount reads "type=bind|volume|tmpfs,src=…,dst=…[,readonly][,tmpfs-size=…][,tmpfs-mode=…]".
func Mount(s string) (api.Mount, error) {
	m := api.Mount{Type: api.MountVolume} // Docker's default
	pairs, err := fields(s)
	if err != nil {
		return m, err
	}
	for _, p := range pairs {
		if err := setMountField(&m, p); err != nil {
			return m, err
		}
	}
	return m, checkMount(m)
}

func setMountField(m *api.Mount, p Pair) (err error) {
	switch p.Key {
	case "type":
		m.Type, err = Choice(api.MountBind, api.MountVolume, api.MountTmpfs)(p.Value)
	case "source", "src":
		m.Source = p.Value
	case "target", "dst", "destination":
		m.Target = p.Value
	case "readonly", "ro":
		m.ReadOnly = true
		if p.Value != "" {
			m.ReadOnly, err = strconv.ParseBool(p.Value)
		}
	case "tmpfs-size":
		tmpfs(m).SizeBytes, err = Bytes(p.Value)
	case "tmpfs-mode":
		var mode uint64
		mode, err = strconv.ParseUint(p.Value, 8, 32)
		tmpfs(m).Mode = uint32(mode)
		if err == nil && mode > 0o7777 {
			err = errors.New("it is not a mode: write octal digits such as 1777")
		}
	case "volume-driver":
		if p.Value != api.VolumeDriver {
			err = errors.New("there are only local volumes, folders of the board: for a share on the network, mount it on the boards and give it as type=bind")
		}
	default:
		return fmt.Errorf("%q is not known in a mount: use type, source, target, readonly, tmpfs-size and tmpfs-mode", p.Key)
	}
	var number *strconv.NumError
	if errors.As(err, &number) {
		err = errors.New("it can't be read: write true or false for readonly, octal digits for tmpfs-mode")
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", p.Key, p.Value, err)
	}
	return nil
}

func tmpfs(m *api.Mount) *api.TmpfsOptions {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &api.TmpfsOptions{}
	}
	return m.TmpfsOptions
}

func checkMount(m api.Mount) error {
	if err := errors.Join(api.CheckTemplate(m.Source), api.CheckTemplate(m.Target)); err != nil {
		return err
	}
	templated := strings.Contains(m.Source, "{{")
	switch {
	case m.Target == "":
		return errors.New("it has no target: say where the task sees it, as in dst=/data")
	case !path.IsAbs(m.Target) || path.Clean(m.Target) == "/":
		return fmt.Errorf("target %q can't be mounted on: give an absolute path other than /", m.Target)
	case m.Type != api.MountTmpfs && m.TmpfsOptions != nil:
		return errors.New("tmpfs-size and tmpfs-mode are only for type=tmpfs")
	case m.Type == api.MountTmpfs && m.Source != "":
		return errors.New("a tmpfs has no source: leave src out")
	case m.Type == api.MountBind && !path.IsAbs(m.Source) && !templated:
		return errors.New("a bind mount needs an absolute path on the board: give it as src=/path")
	case m.Type == api.MountVolume && m.Source == "":
		return errors.New("a volume needs a name: give it as src=NAME")
	case m.Type == api.MountVolume && !templated && strings.ContainsAny(m.Source, "/\\"):
		return fmt.Errorf("%q is not a volume's name: use a name without slashes, or type=bind for a path", m.Source)
	}
	return nil
}
