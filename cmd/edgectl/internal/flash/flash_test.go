package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/ulikunitz/xz"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// rawImage fabricates an image: table, boot partition, and a system that is
// little but not compressible to nothing.
func rawImage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgeswarm-test.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(boardimage.ImageSize); err != nil {
		t.Fatal(err)
	}
	sector := make([]byte, boardimage.SectorSize)
	table := boardimage.New()
	table.Write(sector)
	if _, err := f.WriteAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	p := table.Partition(boardimage.Boot)
	if _, err := fat32.Create(diskfile.New(f, false), p.Bytes(), p.Offset(), boardimage.SectorSize, "EDGESWARM", true); err != nil {
		t.Fatal(err)
	}
	if err := boardimage.WriteBootFile(f, "edge.yaml", []byte("# the image's own\n")); err != nil {
		t.Fatal(err)
	}
	var system []byte
	for sum := sha256.Sum256(nil); len(system) < 3<<20; sum = sha256.Sum256(sum[:]) {
		system = append(system, sum[:]...)
	}
	if _, err := f.WriteAt(system, table.Partition(boardimage.SlotA).Offset()); err != nil {
		t.Fatal(err)
	}
	return path
}

func quiet(Step, int64, int64) {}

// card is a file that stands for a card. As it is blank, zeros need not be written.
func card(t *testing.T, size int64) *target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "card")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &target{File: f, blank: true}
}

func contents(t *testing.T, path string, n int64) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, n)
	if _, err := f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAFileBecomesACardWithItsSettings(t *testing.T) {
	image := rawImage(t)
	out := filepath.Join(t.TempDir(), "board.img")
	steps := map[Step]int64{}
	err := Run(t.Context(), Config{Image: image, Target: out, Settings: []byte("name: attic\n"), Progress: func(s Step, done, total int64) {
		steps[s] = 100 * done / total
	}})
	if err != nil {
		t.Fatal(err)
	}
	if steps[Writing] != 100 || steps[Verifying] != 100 {
		t.Errorf("progress ended at %v", steps)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := boardimage.ReadBootFile(f, "edge.yaml"); err != nil || string(got) != "name: attic\n" {
		t.Errorf("edge.yaml: %q, %v", got, err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() != DefaultFileSize || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	slot := boardimage.New().Partition(boardimage.SlotA)
	want, got := contents(t, image, slot.Offset()+4<<20), contents(t, out, slot.Offset()+4<<20)
	if !bytes.Equal(want[slot.Offset():], got[slot.Offset():]) || !bytes.Equal(want[:1<<20], got[:1<<20]) {
		t.Error("the system is not what the image has")
	}
}

func TestBadImagesAreToldBeforeACardIsOne(t *testing.T) {
	image := rawImage(t)
	whole, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(whole[:1<<20])
	foreign[440] ^= 1
	for name, tt := range map[string]struct {
		data []byte
		sum  string
		want string
	}{
		"empty":           {nil, "", "is no image"},
		"cut short":       {whole[:100<<20], "", "cut short"},
		"another's":       {append(foreign, whole[1<<20:]...), "", "not a board's image"},
		"not as its hash": {whole, strings.Repeat("ab", 32) + "  other.img", "is damaged, or not the one"},
		"a hash of none":  {whole, "hello", "holds no hash"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.img")
			if err := os.WriteFile(bad, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.sum != "" {
				if err := os.WriteFile(bad+".sha256", []byte(tt.sum+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out := filepath.Join(t.TempDir(), "board.img")
			err := Run(t.Context(), Config{Image: bad, Target: out, FileSize: boardimage.MinCard, Progress: quiet})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v", err)
			}
			if _, err := boardimage.Read(out); err == nil {
				t.Error("what was written looks like a card")
			}
		})
	}
}

// xzImage compresses the beginning of an image: enough to see damage met on the way.
func xzImage(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDamageInsideOfACompressedImageIsFound(t *testing.T) {
	whole := contents(t, rawImage(t), 8<<20)
	for sum, at := sha256.Sum256(nil), 1<<20; at < len(whole); at += len(sum) { // not compressible
		copy(whole[at:], sum[:])
		sum = sha256.Sum256(sum[:])
	}
	packed := xzImage(t, whole)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 0x10
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"a flipped bit": {flipped, "download it again"},
		"cut short":     {packed[:len(packed)/2], "cut short"},
		"too little":    {packed, "cut short"},
		"only a magic":  {append(bytes.Clone(xzMagic), 1, 2, 3), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.img.xz")
			if err := os.WriteFile(bad, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "board.img")
			err := Run(t.Context(), Config{Image: bad, Target: out, FileSize: boardimage.MinCard, Progress: quiet})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v", err)
			}
			if _, err := boardimage.Read(out); err == nil {
				t.Error("what was written looks like a card")
			}
		})
	}
}

func TestTargetsThatAreNone(t *testing.T) {
	image := rawImage(t)
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"a file that is there": {Config{Target: there}, "is there already"},
		"a folder":             {Config{Target: t.TempDir()}, "neither a disk nor a file"},
		"no disk":              {Config{Target: "/dev/there-is-none"}, "plug the card in"},
		"another device":       {Config{Target: "/dev/null"}, "neither a disk nor a file"},
		"too small":            {Config{Target: filepath.Join(t.TempDir(), "x"), FileSize: 1e9}, "use a larger one"},
	} {
		tt.cfg.Image, tt.cfg.Progress = image, quiet
		if err := Run(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if raw, err := os.ReadFile(there); err != nil || string(raw) != "mine" {
		t.Errorf("a file that was refused holds %q, %v", raw, err)
	}
}

// A counterfeit card takes all that is written and keeps a part of it.
func TestACardThatForgetsIsFoundOut(t *testing.T) {
	c := card(t, boardimage.MinCard)
	source, err := openImage(rawImage(t))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	slot := boardimage.New().Partition(boardimage.SlotA).Offset()
	err = write(t.Context(), Config{Image: "i", Target: "/dev/sdx", Progress: func(s Step, done, total int64) {
		if s == Writing && done == total {
			_, _ = c.WriteAt([]byte("gone"), slot+1000)
		}
	}}, source, c)
	if err == nil || !strings.Contains(err.Error(), "counterfeit") {
		t.Errorf("got %v", err)
	}
}

func TestOldDataAreGivenUpUnlessKept(t *testing.T) {
	image := rawImage(t)
	b := boardimage.New().Partition(boardimage.SlotB)
	old := b.Offset() + b.Bytes() + 1024
	for _, keep := range []bool{false, true} {
		c := card(t, boardimage.MinCard)
		if _, err := c.WriteAt([]byte("old data"), old); err != nil {
			t.Fatal(err)
		}
		source, err := openImage(image)
		if err != nil {
			t.Fatal(err)
		}
		err = write(t.Context(), Config{Image: image, KeepData: keep, Progress: quiet}, source, c)
		source.Close()
		got := make([]byte, 8)
		if _, readErr := c.ReadAt(got, old); err != nil || readErr != nil || (string(got) == "old data") != keep {
			t.Errorf("kept %v: %q, %v, %v", keep, got, err, readErr)
		}
	}
}

func TestAnInterruptedCardDoesNotLookLikeOne(t *testing.T) {
	c := card(t, boardimage.MinCard)
	sector := make([]byte, boardimage.SectorSize)
	boardimage.New().Write(sector)
	if _, err := c.WriteAt(sector, 0); err != nil { // it was one before
		t.Fatal(err)
	}
	source, err := openImage(rawImage(t))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err = write(ctx, Config{Progress: func(Step, int64, int64) { cancel() }}, source, c)
	if err == nil {
		t.Error("it was not interrupted")
	}
	if _, err := boardimage.Read(c.Name()); err == nil {
		t.Error("a half-written card looks like a card")
	}
}

// disks is a made-up /sys/class/block, and the mounts and swaps to go with it.
func disks(t *testing.T) (sys, mounts, swaps string) {
	t.Helper()
	dir := t.TempDir()
	sys = filepath.Join(dir, "block")
	for path, text := range map[string]string{
		"devices/usb1/sdb/dev": "8:16\n", "devices/usb1/sdb/removable": "0\n", "devices/usb1/sdb/sdb1/dev": "8:17\n", "devices/usb1/sdb/sdb1/partition": "1\n",
		"devices/pci/sda/dev": "8:0\n", "devices/pci/sda/removable": "0\n", "devices/pci/sda/sda1/dev": "8:1\n", "devices/pci/sda/sda1/partition": "1\n",
		"devices/pci/sdc/dev": "8:32\n", "devices/pci/sdc/removable": "0\n",
		"devices/pci/sdd/dev": "8:48\n", "devices/pci/sdd/removable": "1\n", "devices/pci/sdd/sdd1/dev": "8:49\n", "devices/pci/sdd/sdd1/holders/dm-0/dev": "253:0\n",
		"devices/pci/sde/dev": "8:64\n", "devices/pci/sde/removable": "1\n", "devices/pci/sde/sde1/dev": "8:65\n",
		"devices/pci/mmcblk0/dev": "179:0\n", "devices/pci/mmcblk0/removable": "0\n", "devices/pci/mmcblk0/device/type": "SD\n",
		"devices/pci/mmcblk1/dev": "179:8\n", "devices/pci/mmcblk1/removable": "0\n", "devices/pci/mmcblk1/device/type": "MMC\n",
		"mounts": "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:65 / /media/photos rw - vfat /dev/sde1 rw\n",
		"swaps":  "Filename Type Size Used Priority\n/dev/sdc partition 1 0 -2\n",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(sys, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{"sda": "pci/sda", "sda1": "pci/sda/sda1", "sdb": "usb1/sdb", "sdb1": "usb1/sdb/sdb1", "sdc": "pci/sdc", "sdd": "pci/sdd", "sde": "pci/sde", "mmcblk0": "pci/mmcblk0", "mmcblk1": "pci/mmcblk1"} {
		if err := os.Symlink("../devices/"+at, filepath.Join(sys, name)); err != nil {
			t.Fatal(err)
		}
	}
	return sys, filepath.Join(dir, "mounts"), filepath.Join(dir, "swaps")
}

func TestDisksThatMustNotBeOverwritten(t *testing.T) {
	sys, mounts, swaps := disks(t)
	for name, want := range map[string]string{
		"sda": "the disk that this system runs from", "sda1": "the whole disk, /dev/sda", "sdb": "", "sdb1": "the whole disk, /dev/sdb", "sdc": "swap space",
		"sdd": "dm-0 is built on it", "sde": "mounted at /media/photos", "mmcblk0": "", "mmcblk1": "add --force", "sdz": "no disk",
	} {
		err := judgeDisk(name, "/dev/"+name, false, sys, mounts, swaps)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if forced := judgeDisk(name, "/dev/"+name, true, sys, mounts, swaps); (forced == nil) != (want == "" || want == "add --force") {
			t.Errorf("%s, forced: %v", name, forced)
		}
	}
}

func TestThisSystemsOwnDiskIsRefused(t *testing.T) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[4] != "/" || strings.HasPrefix(f[2], "0:") {
			continue // not on a disk, as in a container
		}
		if disk, err := filepath.EvalSymlinks("/sys/dev/block/" + f[2]); err == nil {
			if err := refuse("/dev/"+filepath.Base(disk), true); err == nil {
				t.Errorf("%s is taken for a card", disk)
			}
		}
	}
}
