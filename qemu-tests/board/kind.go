package board

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Kind is a kind of board.
type Kind string

const (
	// Virt is QEMU's own arm64 board, with UEFI firmware: it boots a card as
	// boards with UEFI do.
	Virt Kind = "virt"
	// RaspberryPi3 is a Raspberry Pi 3B. QEMU has not the firmware of its
	// GPU, which reads kernel and device tree from the card: they are given to
	// it directly. Its Ethernet is a USB adapter.
	RaspberryPi3 Kind = "raspi3b"
	// PC is an amd64 mini-PC with UEFI firmware.
	PC Kind = "q35"
)

// Architecture is GOARCH of the kind's programs.
func (k Kind) Architecture() string {
	if k == PC {
		return "amd64"
	}
	return "arm64"
}

func (k Kind) program() string {
	if k == PC {
		return "qemu-system-x86_64"
	}
	return "qemu-system-aarch64"
}

// firmware is code and the template of its variables.
func (k Kind) firmware() (code, variables string) {
	if k == PC {
		return "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	}
	return "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"
}

// Packages are what of Debian emulates each kind.
func (k Kind) Packages() []string {
	switch k {
	case PC:
		return []string{"qemu-system-x86", "ovmf"}
	case Virt:
		return []string{"qemu-system-arm", "qemu-efi-aarch64"}
	default:
		return []string{"qemu-system-arm"}
	}
}

// Available says what this machine lacks to emulate the kind, and how to get it.
func (k Kind) Available() error {
	_, err := exec.LookPath(k.program())
	if err == nil && k != RaspberryPi3 {
		code, variables := k.firmware()
		for _, file := range []string{code, variables} {
			if _, missing := os.Stat(file); missing != nil {
				err = missing
			}
		}
	}
	if err != nil {
		return fmt.Errorf("emulate %s: %w: apt-get install %s", k, err, strings.Join(k.Packages(), " "))
	}
	return nil
}

// netdev is QEMU's name of the board's end of its cable.
const netdev = "lan"

// arguments of QEMU.
func (b *Board) arguments(boot Boot) ([]string, error) {
	clock := "utc"
	if !boot.Clock.IsZero() {
		clock = boot.Clock.UTC().Format(time.DateOnly + "T" + time.TimeOnly)
	}
	args := []string{
		"-display", "none", "-nodefaults",
		"-rtc", "base=" + clock,
		"-chardev", "socket,id=console,server=off,path=" + b.path("console"),
		"-netdev", "stream,id=" + netdev + ",server=off,addr.type=unix,addr.path=" + b.path("lan"),
	}
	if b.cfg.Kind == RaspberryPi3 {
		k := b.cfg.Kernel
		return append(args,
			"-M", "raspi3b", "-accel", "tcg,thread=multi,tb-size=128",
			"-serial", "null", "-serial", "chardev:console", // the UART on its pins is the second
			"-kernel", k.Image, "-initrd", k.Initrd, "-dtb", k.DeviceTree, "-append", k.Args,
			// An SD card's host has no way to ask for a flush: each write is one.
			"-drive", "if=sd,format=raw,cache=writethrough,file=nbd+unix:///?socket="+b.path("card"),
			"-device", fmt.Sprintf("usb-net,netdev=%s,mac=%s", netdev, b.cfg.MAC)), nil
	}
	code, template := b.cfg.Kind.firmware()
	variables := b.path("firmware")
	if err := copyOnce(variables, template); err != nil {
		return nil, err
	}
	machine := []string{"-M", "virt", "-cpu", "cortex-a72"}
	if b.cfg.Kind == PC {
		machine = []string{"-M", "q35", "-cpu", "Nehalem"}
	}
	return append(append(args, machine...),
		"-accel", "tcg,thread=multi,tb-size=128",
		"-serial", "chardev:console",
		"-m", fmt.Sprint(b.cfg.Memory), "-smp", fmt.Sprint(b.cfg.CPUs),
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+code,
		"-drive", "if=pflash,unit=1,format=raw,file="+variables,
		"-blockdev", "driver=nbd,node-name=card,server.type=unix,server.path="+b.path("card"),
		// The board is told of errors, and QEMU goes on.
		"-device", "virtio-blk-pci,drive=card,bootindex=0,werror=report,rerror=report,write-cache=on",
		"-device", fmt.Sprintf("virtio-net-pci,netdev=%s,mac=%s,romfile=", netdev, b.cfg.MAC),
		"-device", "virtio-rng-pci",
		"-device", "i6300esb"), nil // a watchdog: it resets a board that hangs
}

// copyOnce makes a copy that is sparse where the original is empty, unless it is
// there: a board's firmware keeps its settings.
func copyOnce(to, from string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(copySparse(out, in), out.Close())
}

func copySparse(out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; off += int64(len(buf)) {
		n, err := in.ReadAt(buf, off)
		if string(buf[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(buf[:n], off); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
