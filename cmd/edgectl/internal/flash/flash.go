// Package flash writes an image of a board's system to a card: it judges the
// target before it touches it, writes, puts edge.yaml on the boot partition and
// reads back what it wrote.
//
// It does not know what an edge.yaml means, and asks nobody: what may not be
// overwritten is refused.
package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// Config says what is written where.
type Config struct {
	// Image is the file: .img.xz, or an .img as it is.
	Image string
	// Target is a disk, or a file that is made as if it were one.
	Target string
	// Settings is the content of edge.yaml; nil leaves the image's own.
	Settings []byte
	// FileSize is how large a file is made, in bytes (default DefaultFileSize).
	FileSize int64
	// KeepData leaves a data partition that the card had: the board takes it up
	// again, and with it who it was.
	KeepData bool
	// Force also takes a disk that is built in, or has no card of its own.
	Force bool
	// Progress is told of each step; never nil.
	Progress func(step Step, done, total int64)
}

// Step of the work, as shown to people.
type Step string

// Steps, in their order.
const (
	Writing   Step = "writing"
	Verifying Step = "verifying"
)

// DefaultFileSize of a file: sparse, so it takes what is written to it.
const DefaultFileSize = 4 << 30

// chunk is what is written, and read back, at once.
const chunk = 1 << 20

// Run does it all. An error before the first byte is written says that the
// target is untouched; after it, that the target will not boot.
func Run(ctx context.Context, cfg Config) error {
	source, err := openImage(cfg.Image)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := openTarget(cfg)
	if err != nil {
		return err
	}
	defer target.Close()
	err = write(ctx, cfg, source, target)
	if err == nil && cfg.Settings != nil {
		err = putSettings(target.File, cfg.Settings)
	}
	if err == nil {
		err = target.finish()
	}
	if err != nil {
		return fmt.Errorf("%w; %s holds nothing of use now: flash it again", err, cfg.Target)
	}
	return nil
}

// write copies the image and reads it back. The partition table is written
// last, so that a card that was not written whole does not look like one.
func write(ctx context.Context, cfg Config, source io.Reader, target *target) error {
	head := make([]byte, chunk)
	if _, err := io.ReadFull(source, head); err != nil {
		return fmt.Errorf("%s is damaged or no image: %w: download it again", cfg.Image, err)
	}
	table, err := boardimage.Parse(head)
	if err != nil {
		return fmt.Errorf("%s is not a board's image: %w", cfg.Image, err)
	}
	if _, err := target.WriteAt(make([]byte, chunk), 0); err != nil {
		return fmt.Errorf("write %s: %w", cfg.Target, err)
	}
	sums, err := copyBody(ctx, cfg, source, target)
	if err != nil {
		return err
	}
	if !cfg.KeepData {
		if err := target.forgetData(table); err != nil {
			return err
		}
	}
	if _, err := target.WriteAt(head, 0); err != nil {
		return fmt.Errorf("write %s: %w", cfg.Target, err)
	}
	sums[0] = sha256.Sum256(head)
	return verify(ctx, cfg, sums, target)
}

// copyBody writes all but the first chunk, and returns the sums of all chunks.
func copyBody(ctx context.Context, cfg Config, source io.Reader, target *target) ([][sha256.Size]byte, error) {
	sums := make([][sha256.Size]byte, boardimage.ImageSize/chunk)
	buffer := make([]byte, chunk)
	for i := 1; i < len(sums); i++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if _, err := io.ReadFull(source, buffer); err != nil {
			return nil, damaged(cfg.Image, int64(i)*chunk, err)
		}
		sums[i] = sha256.Sum256(buffer)
		if !target.blank || !allZero(buffer) {
			if _, err := target.WriteAt(buffer, int64(i)*chunk); err != nil {
				return nil, fmt.Errorf("write %s: %w", cfg.Target, err)
			}
		}
		cfg.Progress(Writing, int64(i+1)*chunk, boardimage.ImageSize)
	}
	// The end of the stream is where its checksum is.
	if n, err := source.Read(buffer[:1]); n > 0 || err != io.EOF {
		if err == nil || err == io.EOF {
			err = errors.New("it is longer than a board's image")
		}
		return nil, damaged(cfg.Image, boardimage.ImageSize, err)
	}
	if err := target.settle(); err != nil {
		return nil, fmt.Errorf("write %s: %w", cfg.Target, err)
	}
	return sums, nil
}

func damaged(image string, at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s is cut short: it ends after %d MB of %d: download it again", image, at/1e6, boardimage.ImageSize/1e6)
	}
	return fmt.Errorf("%s is damaged near %d MB: %w: download it again", image, at/1e6, err)
}

// verify reads back what the disk holds, not what this machine remembers of it.
func verify(ctx context.Context, cfg Config, sums [][sha256.Size]byte, target *target) error {
	if err := target.settle(); err != nil {
		return fmt.Errorf("write %s: %w", cfg.Target, err)
	}
	buffer := make([]byte, chunk)
	for i, want := range sums {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := target.ReadAt(buffer, int64(i)*chunk); err != nil {
			return fmt.Errorf("read %s back: %w", cfg.Target, err)
		}
		if sha256.Sum256(buffer) != want {
			return fmt.Errorf("%s does not hold what was written to it, near %d MB: the card is worn out or a counterfeit: use another", cfg.Target, i*chunk/1e6)
		}
		cfg.Progress(Verifying, int64(i+1)*chunk, boardimage.ImageSize)
	}
	return nil
}

// putSettings writes edge.yaml and reads it back.
func putSettings(disk *os.File, settings []byte) error {
	if err := boardimage.WriteBootFile(disk, "edge.yaml", settings); err != nil {
		return err
	}
	got, err := boardimage.ReadBootFile(disk, "edge.yaml")
	if err != nil {
		return err
	}
	if !bytes.Equal(got, settings) {
		return errors.New("edge.yaml does not read back as it was written")
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
