package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	diskfile "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/edgeswarm/edgeswarm/internal/boardimage"
)

// slot is the system that an image boots. An upgrade brings the other.
const slot = "a"

// arguments of the kernel in that slot. Interfaces keep the kernel's names:
// a board has one of a kind, and edge.yaml can speak of eth0.
func arguments(consoles string) string {
	return consoles + " edge.slot=" + slot + " net.ifnames=0 quiet loglevel=4 panic=10"
}

// bootFiles are what lies on the boot partition, by path.
func bootFiles(r recipe, t *tree, k kernel, initramfs []byte) (map[string][]byte, error) {
	files := map[string][]byte{
		slot + "/vmlinuz":                       k.image,
		slot + "/initrd.img":                    initramfs,
		"edge.yaml":                             readEmbedded("boot/edge.yaml"),
		"loader/loader.conf":                    []byte("timeout 0\ndefault edge-" + slot + ".conf\n"),
		"loader/entries/edge-" + slot + ".conf": []byte("title Edgeswarm, system " + slot + "\nlinux /" + slot + "/vmlinuz\ninitrd /" + slot + "/initrd.img\noptions " + arguments(r.consoles) + "\n"),
	}
	loader, ok := t.get(r.systemdBoot)
	if !ok {
		return nil, fmt.Errorf("no package brings %s", r.systemdBoot)
	}
	files["EFI/BOOT/"+r.efi] = loader.data
	if r.pi {
		files["config.txt"] = readEmbedded("boot/config.txt")
		files[slot+"/cmdline.txt"] = []byte(arguments("console=tty0 console=ttyS1,115200 console=ttyAMA10,115200") + "\n")
		for name, data := range k.trees {
			if strings.HasPrefix(name, "bcm2837") || strings.HasPrefix(name, "bcm2711") || strings.HasPrefix(name, "bcm2712") {
				files[slot+"/"+name] = data
			}
		}
		for _, name := range []string{"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"} {
			e, ok := t.get("usr/lib/raspi-firmware/" + name)
			if !ok {
				return nil, fmt.Errorf("raspi-firmware brings no %s", name)
			}
			files[name] = e.data
		}
	}
	t.remove("usr/lib/systemd/boot")
	t.remove("usr/lib/raspi-firmware")
	return files, nil
}

// writeBoot makes the boot partition in the image.
func writeBoot(image *os.File, p boardimage.Partition, files map[string][]byte, at time.Time) error {
	// The library's clock (reproducible-builds.org/specs/source-date-epoch).
	if err := os.Setenv("SOURCE_DATE_EPOCH", strconv.FormatInt(at.Unix(), 10)); err != nil {
		return err
	}
	fs, err := fat32.Create(diskfile.New(image, false), p.Bytes(), p.Offset(), boardimage.SectorSize, "EDGESWARM", true)
	if err != nil {
		return fmt.Errorf("make boot partition: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if dir := path.Dir(name); dir != "." {
			if err := fs.Mkdir(dir); err != nil {
				return fmt.Errorf("make %s on the boot partition: %w", dir, err)
			}
		}
		f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			return fmt.Errorf("make %s on the boot partition: %w", name, err)
		}
		if _, err := f.Write(files[name]); err != nil {
			return fmt.Errorf("write %s to the boot partition: %w", name, err)
		}
		if err := f.Close(); err != nil {
			return fmt.Errorf("write %s to the boot partition: %w", name, err)
		}
	}
	return fs.Close()
}
