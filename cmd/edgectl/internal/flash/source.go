package flash

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// image is an image's content, decompressed.
type image struct {
	io.Reader
	file *os.File
}

func (i image) Close() error { return i.file.Close() }

var xzMagic = []byte{0xfd, '7', 'z', 'X', 'Z', 0}

// openImage opens an image, and checks it against the hash beside it, if there
// is one: before a card is touched. The checks inside of an .xz come with its
// reading.
func openImage(name string) (image, error) {
	file, err := os.Open(name)
	if err != nil {
		return image{}, fmt.Errorf("open image: %w", err)
	}
	i, err := readImage(file, name)
	if err != nil {
		return image{}, errors.Join(err, file.Close())
	}
	return i, nil
}

func readImage(file *os.File, name string) (image, error) {
	info, err := file.Stat()
	if err != nil {
		return image{}, err
	}
	if !info.Mode().IsRegular() {
		return image{}, fmt.Errorf("%s is not a file: name an image such as edgeswarm-arm64.img.xz", name)
	}
	if err := matchesSum(file, name); err != nil {
		return image{}, err
	}
	buffered := bufio.NewReaderSize(file, chunk)
	magic, err := buffered.Peek(len(xzMagic))
	if err != nil {
		return image{}, fmt.Errorf("%s is no image: it has %d bytes", name, info.Size())
	}
	if bytes.Equal(magic, xzMagic) {
		plain, err := xz.NewReader(buffered)
		if err != nil {
			return image{}, fmt.Errorf("%s is damaged: %w: download it again", name, err)
		}
		return image{plain, file}, nil
	}
	if info.Size() != boardimage.ImageSize {
		return image{}, fmt.Errorf("%s has %d bytes and a board's image %d: it is cut short, or something else; download it again", name, info.Size(), boardimage.ImageSize)
	}
	return image{buffered, file}, nil
}

// matchesSum compares a file with NAME.sha256, where that is there.
func matchesSum(file *os.File, name string) error {
	raw, err := os.ReadFile(name + ".sha256")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the image's hash: %w", err)
	}
	want, beside, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	if len(want) != hex.EncodedLen(sha256.Size) {
		return fmt.Errorf("%s.sha256 holds no hash: download it again, or remove it", name)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.ToLower(want) {
		return fmt.Errorf("%s is damaged, or not the one that %s.sha256 is for (%s): its hash is %s: download it again", name, filepath.Base(name), strings.TrimLeft(beside, " *"), got)
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}
