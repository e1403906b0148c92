// Command image makes the image that boards boot, out of Debian's packages and
// our own programs. It runs nothing of another platform and needs no root:
// packages are unpacked, and what their scripts would do is in the recipe.
//
//	go run ./build/image [--arch arm64] [--out dist]         make the image
//	go run ./build/image lock [--arch arm64]                 pin Debian's newest packages
//
// It does not decide how a board lives: that is build/edgeboot, which it puts
// into the image, and the units of files/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		stop()
		os.Exit(1)
	}
}

// options of the command line.
type options struct {
	arch, out, cache, mirror, programs, source string
	epoch                                      int64
	raw                                        bool
}

func run(ctx context.Context, args []string, progress io.Writer) error {
	var o options
	f := pflag.NewFlagSet("image", pflag.ContinueOnError)
	f.StringVar(&o.arch, "arch", "arm64", "`platform` of the image: arm64 or amd64")
	f.StringVar(&o.out, "out", "dist", "`folder` to make edgeswarm-ARCH.img.xz in")
	f.StringVar(&o.cache, "cache", defaultCache(), "`folder` of fetched packages")
	f.StringVar(&o.mirror, "mirror", environment("EDGE_DEBIAN_MIRROR", "http://deb.debian.org"), "`URL` that has debian/ and debian-security/ below it")
	f.StringVar(&o.programs, "programs", "dist", "`folder` of edged-linux-ARCH, edgectl-linux-ARCH and edgeboot-linux-ARCH")
	f.StringVar(&o.source, "source", "build/image", "`folder` of this program's source, with its lock files")
	f.Int64Var(&o.epoch, "epoch", 1767225600, "every time stamp of the image, in `seconds` since 1970")
	f.BoolVar(&o.raw, "raw", false, "make edgeswarm-ARCH.img and do not compress it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, ok := recipes[o.arch]; !ok {
		return fmt.Errorf("--arch %s: want arm64 or amd64", o.arch)
	}
	lockPath := filepath.Join(o.source, "lock", o.arch+".lock")
	switch command := strings.Join(f.Args(), " "); command {
	case "lock":
		all, err := makeLock(ctx, o.arch, o.mirror)
		if err != nil {
			return err
		}
		fmt.Fprintf(progress, "%d packages are pinned in %s\n", len(all), lockPath)
		return os.WriteFile(lockPath, writeLock(o.arch, all), 0o644)
	case "":
		return makeImage(ctx, o, lockPath, progress)
	default:
		return fmt.Errorf("unknown command %q: see --help", command)
	}
}

func (o options) at() time.Time { return time.Unix(o.epoch, 0).UTC() }

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return strings.TrimSuffix(value, "/")
	}
	return otherwise
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "edgeswarm", "packages")
}
