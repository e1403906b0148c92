package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// enabled are units that are started at boot, by what wants them.
var enabled = map[string][]string{
	"sysinit.target":    {"edge-setup.service", "systemd-timesyncd.service"},
	"multi-user.target": {"systemd-networkd.service", "edged.service", "edge-ssh.service", "edge-resolv.path", "edge-shell@tty2.service", "edge-shell-serial.service"},
}

// masked are units of Debian's packages that a board of ours has no use for.
var masked = []string{
	"systemd-firstboot.service", "systemd-machine-id-commit.service", "systemd-hwdb-update.service", "systemd-update-done.service",
	"systemd-journal-catalog-update.service", "systemd-journal-flush.service", "systemd-random-seed.service", "systemd-update-utmp.service",
	"systemd-networkd-persistent-storage.service", "systemd-pstore.service", "systemd-rfkill.service", "systemd-rfkill.socket",
	"systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
	"dev-hugepages.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-sysusers.service", "systemd-remount-fs.service", "systemd-tpm2-setup.service", "systemd-tpm2-setup-early.service", "systemd-pcrmachine.service",
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase-initrd.service", "systemd-boot-update.service", "systemd-bootctl.socket", "systemd-creds.socket", "systemd-sysext.socket", "systemd-pcrextend.socket", "systemd-pcrlock.socket",
	"ldconfig.service", "getty.target", "remote-fs.target", "e2scrub_reap.service", "e2scrub_all.timer", "systemd-tmpfiles-clean.timer", "systemd-hibernate-resume.service", "systemd-hibernate-clear.service", "systemd-battery-check.service", "wpa_supplicant.service", "dropbear.service", "systemd-networkd-wait-online.service", "systemd-mountfsd.socket", "systemd-nsresourced.socket", "systemd-userdbd.socket", "systemd-journald-audit.socket", "systemd-network-generator.service", "systemd-vconsole-setup.service", "systemd-repart.service", "systemd-growfs-root.service", "systemd-udev-settle.service", "systemd-user-sessions.service", "systemd-logind.service", "systemd-hostnamed.socket",
	"modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service", "modprobe@dm_mod.service", "modprobe@efi_pstore.service", "modprobe@loop.service",
	"systemd-udev-load-credentials.service", "systemd-modules-load.service", "systemd-initctl.socket", "dev-mqueue.mount", "run-lock.mount",
}

// applets are the commands that busybox stands in for, where no package brings
// the real one. A board has no other tools.
var applets = strings.Fields(`[ ash awk basename blkid cat chgrp chmod chown chroot chvt clear cmp cp cut date dd df dirname dmesg du echo egrep env expr
	false fgrep find free fuser getty grep gunzip gzip head hexdump hostname id ifconfig install ip kill killall less ln login logger losetup ls lsusb
	md5sum mkdir mkfifo mknod mktemp more mv nc netstat nohup nproc nslookup od passwd pgrep pidof ping ping6 pkill printenv printf ps pwd
	readlink realpath reboot renice reset rm rmdir route sed seq setsid sh sha256sum sleep sort stat strings stty sync tail tar tee telnet test
	time timeout top touch tr traceroute traceroute6 true tty udhcpc umount uname uniq unlink uptime vi watch wc wget which whoami xargs xz xzcat yes zcat
	nsenter unshare switch_root mountpoint hwclock swapon swapoff sysctl blockdev sha1sum dnsdomainname microcom tree unxz who env`)

// accounts are the users and groups that the packages' scripts would make.
const (
	accounts = `root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin
systemd-timesync:x:997:997:systemd Time Synchronization:/:/usr/sbin/nologin
`
	accountGroups = `root:x:0:
tty:x:5:
disk:x:6:
lp:x:7:
kmem:x:15:
dialout:x:20:
cdrom:x:24:
tape:x:26:
audio:x:29:
video:x:44:
plugdev:x:46:
users:x:100:
systemd-network:x:998:
systemd-timesync:x:997:
systemd-journal:x:999:
input:x:996:
kvm:x:995:
render:x:994:
sgx:x:993:
clock:x:992:
nogroup:x:65534:
`
)

// furnishRoot makes a bootable root of unpacked packages.
func furnishRoot(t *tree) error {
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "var", "data", "root", "boot", "mnt", "home", "opt", "srv"} {
		t.folder(dir, 0o755)
	}
	for _, dir := range merged {
		if _, ok := t.get("usr/" + dir); ok || dir != "lib64" {
			t.entries[dir] = entry{kind: link, mode: 0o777, target: "usr/" + dir}
		}
	}
	if err := walkRoot(func(name string, data []byte) {
		mode := uint32(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		t.file(name, mode, data)
	}); err != nil {
		return err
	}
	t.file("etc/passwd", 0o644, []byte(accounts))
	t.file("etc/group", 0o644, []byte(accountGroups))
	t.file("etc/shadow", 0o600, []byte("root:*:::::::\nnobody:*:::::::\nsystemd-network:!*:::::::\nsystemd-timesync:!*:::::::\n"))
	// Empty, so that no boot is a first one, at which systemd goes by the presets of all units; it
	// makes an ID at each boot (machine-id(5)).
	t.file("etc/machine-id", 0o444, nil)
	t.link("etc/resolv.conf", "../run/edgeboot/resolv.conf")
	t.link("etc/mtab", "../proc/self/mounts")
	t.link("etc/dropbear", "/data/ssh") // where it makes its host key when it is first asked for it
	for _, name := range applets {
		if !inPath(t, name) {
			t.link("usr/bin/"+name, "busybox")
		}
	}
	for wants, units := range enabled {
		for _, unit := range units {
			t.link("etc/systemd/system/"+wants+".wants/"+unit, "/usr/lib/systemd/system/"+unit)
		}
	}
	for _, unit := range masked {
		t.link("etc/systemd/system/"+unit, "/dev/null")
	}
	t.link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
	return trustedCertificates(t)
}

func inPath(t *tree, name string) bool {
	for _, dir := range []string{"usr/bin/", "usr/sbin/"} {
		if _, ok := t.get(dir + name); ok {
			return true
		}
	}
	return false
}

// trustedCertificates bundles those of ca-certificates, for registries.
func trustedCertificates(t *tree) error {
	var bundle bytes.Buffer
	for _, name := range t.paths() {
		if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
			bundle.Write(t.entries[name].data)
		}
	}
	if bundle.Len() == 0 {
		return fmt.Errorf("ca-certificates brings no certificate")
	}
	t.remove("usr/share/ca-certificates")
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle.Bytes())
	return nil
}

// writeSum puts the image's hash beside it, as sha256sum does.
func writeSum(name string, progress io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	line := hex.EncodeToString(sum.Sum(nil)) + "  " + filepath.Base(name) + "\n"
	fmt.Fprintf(progress, "%s: %.1f MB, sha256 %s", name, float64(size)/1e6, line)
	return os.WriteFile(name+".sha256", []byte(line), 0o644)
}
