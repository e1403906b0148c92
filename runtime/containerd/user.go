package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// identity is what a user name means inside an image.
type identity struct {
	user specs.User
	home string
}

type userKey struct{ chain, name, groups string }

const maxUserFile = 1 << 20

// identityOf looks a user ("name", "uid", "name:group", …; "" is root) up in
// the passwd and group files of a prepared snapshot, and remembers the answer
// for the image.
func (d *Driver) identityOf(ctx context.Context, chain, name string, groups []string, mounts []mount.Mount) (identity, error) {
	key := userKey{chain, name, strings.Join(groups, " ")}
	d.mu.Lock()
	known, ok := d.users[key]
	d.mu.Unlock()
	if ok {
		return known, nil
	}
	var found identity
	err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) (err error) {
		found, err = lookUp(root, name, groups)
		return err
	})
	if err != nil {
		return identity{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.users) >= maxRemembered {
		clear(d.users)
	}
	d.users[key] = found
	return found, nil
}

// lookUp resolves a user and further groups as Docker does, in the root file
// system at root.
func lookUp(root, name string, groups []string) (identity, error) {
	dir, err := os.Open(root)
	if err != nil {
		return identity{}, fmt.Errorf("open root file system: %w", err)
	}
	defer dir.Close()
	passwd, err := readInside(dir, "etc/passwd")
	if err != nil {
		return identity{}, err
	}
	group, err := readInside(dir, "etc/group")
	if err != nil {
		return identity{}, err
	}
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return identity{}, invalid("user %q is not in the image: %v", name, err)
	}
	further, err := user.GetAdditionalGroups(groups, bytes.NewReader(group))
	if err != nil {
		return identity{}, invalid("a group is not in the image: %v; give its number", err)
	}
	ids := append(append([]int{u.Gid}, u.Sgids...), further...) // the primary group too, or setgroups would drop what it forbids
	out := identity{home: u.Home}
	for _, id := range append([]int{u.Uid}, ids...) {
		if id < 0 || id > math.MaxInt32 {
			return identity{}, invalid("user %q: ID %d is out of range", name, id)
		}
	}
	out.user = specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}
	for _, id := range ids {
		if !slices.Contains(out.user.AdditionalGids, uint32(id)) {
			out.user.AdditionalGids = append(out.user.AdditionalGids, uint32(id))
		}
	}
	return out, nil
}

// readInside reads a file below dir as a process with dir as its root would
// find it: an image's symbolic links can't lead outside. A missing file is empty.
func readInside(dir *os.File, path string) ([]byte, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read /%s of the image: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, invalid("/%s of the image is not a regular file", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	if err != nil {
		return nil, fmt.Errorf("read /%s of the image: %w", path, err)
	}
	return raw, nil
}
