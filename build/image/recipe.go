package main

import (
	"path"
	"slices"
	"strings"
)

// release is the Debian that the image is made of.
const release = "trixie"

// recipe is what differs between platforms.
type recipe struct {
	// packages are asked for by name; the lock has what they need as well.
	packages []string
	// libc is the loader's name of the platform: folder of shared libraries.
	triplet string
	// loader is the path that every dynamic program asks for its loader at.
	loader string
	// efi is the file name that firmware looks for, systemdBoot what is put there.
	efi, systemdBoot string
	// consoles are kernel arguments; the last that exists is /dev/console.
	consoles string
	// pi is set where a Raspberry Pi can boot the image.
	pi bool
}

// common are the packages of every platform.
var common = []string{
	"systemd", "systemd-sysv", "udev", "systemd-timesyncd", "kmod",
	"containerd", "runc", "e2fsprogs", "busybox-static", "ca-certificates",
	"wpasupplicant", "wireless-regdb", "dropbear-bin", "systemd-boot-efi",
}

var recipes = map[string]recipe{
	"arm64": {
		packages: append([]string{"linux-image-arm64", "raspi-firmware", "firmware-brcm80211"}, common...),
		triplet:  "aarch64-linux-gnu", loader: "usr/lib/ld-linux-aarch64.so.1",
		efi: "BOOTAA64.EFI", systemdBoot: "usr/lib/systemd/boot/efi/systemd-bootaa64.efi",
		consoles: "console=tty0 console=ttyS0,115200 console=ttyAMA0,115200", pi: true,
	},
	"amd64": {
		packages: append([]string{"linux-image-amd64", "firmware-realtek"}, common...),
		triplet:  "x86_64-linux-gnu", loader: "usr/lib64/ld-linux-x86-64.so.2",
		efi: "BOOTX64.EFI", systemdBoot: "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
		consoles: "console=tty0 console=ttyS0,115200",
	},
}

// leftOut are packages that others depend on for their scripts, which are not
// run, or for programs that no board calls. That no library is missing is
// checked once all is put together.
var leftOut = []string{
	"adduser", "base-passwd", "coreutils", "cpio", "debconf", "dpkg", "dracut-install", "gcc-14-base",
	"initramfs-tools", "initramfs-tools-bin", "initramfs-tools-core", "klibc-utils", "libaudit-common",
	"libdb5.3t64", "libdebconfclient0", "libklibc", "libpam-modules", "libpam-modules-bin", "libsemanage-common",
	"libsemanage2", "libsepol2", "linux-base", "linux-image-amd64", "linux-image-arm64", "login.defs", "logsave",
	"openssl", "openssl-provider-legacy", "passwd", "perl-base", "readline-common", "sensible-utils", "tar", "dosfstools",
}

// unwanted are folders and files of packages that no board reads.
var unwanted = []string{
	"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug",
	"usr/share/bash-completion", "usr/share/zsh", "usr/share/fish", "usr/share/initramfs-tools", "usr/share/polkit-1",
	"usr/share/dbus-1", "usr/share/pkgconfig", "usr/share/mime", "usr/share/applications", "usr/share/icons", "usr/share/gcc",
	"usr/share/debconf", "usr/share/perl5", "usr/share/gdb", "usr/share/libc-bin", "usr/share/i18n", "usr/share/systemd",
	"usr/share/polkit", "usr/share/libalternatives", "usr/share/wpa_supplicant", "usr/share/pam", "usr/share/pam-configs",
	"usr/share/ca-certificates/mozilla/README", "usr/share/dbus", "usr/share/zoneinfo", "usr/share/user-tmpfiles.d", "usr/share/ucf",
	"usr/lib/udev/hwdb.d", "usr/lib/udev/hwdb.bin", "usr/lib/initramfs-tools", "usr/lib/modprobe.d/README",
	"usr/lib/systemd/boot", "usr/lib/systemd/catalog", "usr/lib/systemd/user", "usr/lib/systemd/user-generators", "usr/lib/systemd/user-environment-generators",
	"usr/lib/systemd/user-preset", "usr/lib/systemd/portable", "usr/lib/kernel", "usr/lib/python3", "usr/lib/environment.d", "usr/lib/tmpfiles.d/README",
	"usr/lib/pcrlock.d", "usr/lib/sysusers.d", "usr/lib/dracut", "usr/lib/valgrind", "usr/lib/debug", "usr/lib/dbus-1.0",
	"usr/lib/systemd/system-generators", "usr/lib/systemd/systemd-bless-boot", "usr/lib/systemd/systemd-machined",
	"usr/bin/containerd-stress", "usr/bin/containerd-shim", "usr/bin/containerd-shim-runc-v1", "usr/bin/ctr",
	"usr/bin/systemd-analyze", "usr/bin/systemd-cryptenroll", "usr/bin/systemd-cryptsetup", "usr/bin/systemd-repart", "usr/bin/systemd-sysext", "usr/bin/systemd-confext",
	"usr/bin/wpa_passphrase", "usr/sbin/wpa_action", "usr/sbin/debugfs", "usr/sbin/e4defrag", "usr/sbin/e4crypt", "usr/sbin/e2scrub", "usr/sbin/e2scrub_all", "usr/sbin/mke2fs.conf",
	"usr/bin/dropbearconvert", "usr/bin/dbclient",
	"usr/lib/systemd/system/containerd.service", "usr/lib/tmpfiles.d/provision.conf", "usr/lib/tmpfiles.d/20-systemd-shell-extra.conf", "etc/containerd",
	"etc/init.d", "etc/cron.d", "etc/cron.daily", "etc/rc0.d", "etc/rcS.d", "etc/default", "etc/kernel", "etc/initramfs", "etc/initramfs-tools", "etc/X11", "etc/xdg", "etc/dhcp", "etc/network", "etc/apm",
	"etc/pam.d", "etc/security", "etc/alternatives", "etc/dpkg", "etc/logrotate.d", "etc/ucf.conf", "etc/apparmor.d", "etc/systemd/user", "etc/systemd/user.conf",
	"boot", "var", "run", "tmp", "home", "srv", "media", "mnt", "opt", "proc", "sys", "dev", "root",
}

// kept are exceptions from unwanted, and parts of packages that something else
// of the build takes up.
func (r recipe) keep(name string) bool {
	name = canonical(name)
	switch {
	case name == r.systemdBoot, strings.HasPrefix(name, "boot/vmlinuz-"):
		return true
	case slices.ContainsFunc(unwanted, func(u string) bool { return name == u || strings.HasPrefix(name, u+"/") }):
		return false
	case strings.HasPrefix(name, "usr/lib/linux-image-"): // device trees
		return r.pi && (path.Base(path.Dir(name)) == "broadcom" && strings.HasSuffix(name, ".dtb") || !strings.Contains(path.Base(name), "."))
	case strings.HasPrefix(name, "usr/lib/modules/"):
		return keepModule(name)
	case strings.HasPrefix(name, "usr/lib/"+r.triplet+"/gconv"):
		return false
	case strings.HasPrefix(name, "usr/lib/firmware/"):
		return !strings.HasSuffix(name, ".sig") && keepFirmware(strings.TrimPrefix(name, "usr/lib/firmware/"))
	}
	return true
}

// keepFirmware leaves out what belongs to no board: chips of phones and PCs.
func keepFirmware(name string) bool {
	for _, drop := range []string{"cypress/cyfmac54591", "cypress/cyfmac4373", "brcm/brcmfmac4356-pcie", "brcm/brcmfmac4371-pcie", "brcm/brcmfmac4366"} {
		if strings.HasPrefix(name, drop) {
			return false
		}
	}
	return true
}

// noModules are folders of drivers that no board of a fleet has use for:
// sound, graphics cards, adapters of data centres, file systems of servers.
var noModules = []string{
	"sound", "drivers/infiniband", "drivers/staging", "drivers/mtd", "drivers/target", "drivers/hwtracing", "drivers/soundwire",
	"drivers/message", "drivers/isdn", "drivers/accessibility", "drivers/atm", "drivers/firewire", "drivers/pcmcia", "drivers/parport", "drivers/accel",
	"drivers/gpu/drm/amd", "drivers/gpu/drm/nouveau", "drivers/gpu/drm/radeon", "drivers/gpu/drm/i915", "drivers/gpu/drm/xe", "drivers/gpu/drm/msm", "drivers/gpu/drm/gma500", "drivers/gpu/drm/vmwgfx",
	"drivers/media/dvb-frontends", "drivers/media/tuners", "drivers/media/pci", "drivers/media/usb/dvb-usb", "drivers/media/usb/dvb-usb-v2", "drivers/media/rc", "drivers/media/radio",
	"drivers/net/ethernet/mellanox", "drivers/net/ethernet/chelsio", "drivers/net/ethernet/qlogic", "drivers/net/ethernet/cavium", "drivers/net/ethernet/marvell/octeontx2",
	"drivers/net/ethernet/hisilicon", "drivers/net/ethernet/netronome", "drivers/net/ethernet/sfc", "drivers/net/ethernet/emulex", "drivers/net/ethernet/huawei", "drivers/net/ethernet/pensando", "drivers/net/ethernet/brocade",
	"drivers/net/ethernet/broadcom/bnx2x", "drivers/net/ethernet/broadcom/bnxt", "drivers/net/ethernet/intel/ice", "drivers/net/ethernet/intel/i40e", "drivers/net/ethernet/fungible", "drivers/net/ethernet/microsoft",
	"drivers/net/fddi", "drivers/net/hamradio", "drivers/net/arcnet", "drivers/net/wan", "drivers/net/wireless/intersil", "drivers/net/wireless/ti", "drivers/net/wireless/st", "drivers/net/wireless/marvell",
	"drivers/net/wireless/ath", "drivers/net/wireless/intel", "drivers/net/wireless/mediatek", "drivers/net/wireless/quantenna", "drivers/net/wireless/rsi", "drivers/net/wireless/silabs", "drivers/net/wireless/virtual",
	"drivers/scsi/aacraid", "drivers/scsi/lpfc", "drivers/scsi/qla2xxx", "drivers/scsi/qla4xxx", "drivers/scsi/mpt3sas", "drivers/scsi/megaraid", "drivers/scsi/bnx2fc", "drivers/scsi/bnx2i", "drivers/scsi/be2iscsi", "drivers/scsi/smartpqi",
	"drivers/scsi/hisi_sas", "drivers/scsi/aic7xxx", "drivers/scsi/bfa", "drivers/scsi/csiostor", "drivers/scsi/mpi3mr", "drivers/scsi/pm8001", "drivers/scsi/fnic", "drivers/scsi/fcoe", "drivers/scsi/libfc", "drivers/scsi/cxgbi", "drivers/scsi/snic", "drivers/scsi/elx",
	"drivers/comedi", "drivers/md/bcache", "drivers/cxl", "drivers/nvdimm", "drivers/xen", "drivers/edac",
	"fs/ocfs2", "fs/gfs2", "fs/bcachefs", "fs/afs", "fs/ceph", "fs/coda", "fs/reiserfs", "fs/jfs", "fs/nilfs2", "fs/ubifs", "fs/jffs2", "fs/orangefs", "fs/9p", "fs/dlm", "fs/ufs", "fs/minix", "fs/hfs", "fs/hfsplus", "fs/affs", "fs/befs", "fs/erofs", "fs/zonefs", "fs/quota",
	"net/tipc", "net/rds", "net/sctp", "net/ceph", "net/9p", "net/ax25", "net/netrom", "net/rose", "net/atm", "net/appletalk", "net/batman-adv", "net/dccp", "net/smc", "net/openvswitch", "net/mpls", "net/nfc", "net/phonet", "net/x25", "net/lapb",
}

func keepModule(name string) bool {
	_, inKernel, ok := strings.Cut(name, "/kernel/")
	if !ok {
		return true
	}
	return !slices.ContainsFunc(noModules, func(no string) bool { return strings.HasPrefix(inKernel, no+"/") || inKernel == no })
}

// diskModules are what a board may need to reach its card before the root is
// there: folders of drivers, as in the kernel's tree. Which of them are loaded
// is decided on the board by the devices that it has.
var diskModules = []string{
	"drivers/block/virtio_blk", "drivers/virtio/", "drivers/mmc/host/", "drivers/usb/host/", "drivers/usb/dwc2/", "drivers/usb/dwc3/", "drivers/usb/phy/", "drivers/usb/core", "drivers/usb/storage/usb-storage", "drivers/usb/storage/uas", "drivers/usb/chipidea/", "drivers/usb/common",
	"drivers/nvme/host/nvme.", "drivers/ata/ahci", "drivers/ata/libahci", "drivers/ata/ata_piix", "drivers/scsi/sd_mod", "drivers/scsi/virtio_scsi", "drivers/reset/", "drivers/phy/broadcom/", "drivers/phy/allwinner/", "drivers/phy/rockchip/", "drivers/phy/amlogic/",
	"drivers/pci/controller/", "drivers/regulator/gpio-regulator", "drivers/regulator/fixed", "drivers/i2c/busses/i2c-bcm2835",
	"fs/squashfs/", "fs/overlayfs/",
}

// alwaysLoaded are modules that no device asks for.
var alwaysLoaded = []string{"squashfs", "overlay", "sd_mod", "phy-generic"}
