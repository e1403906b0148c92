#!/bin/bash
# Installs, upgrades, removes and purges the packages in clean chroots of
# bookworm and trixie, of this machine's architecture, and counts what it saw.
# The chroots are made once, and kept in $CACHE: a week-old one is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
	echo "make test-deb: run it as root: it makes chroots and runs containers" >&2
	exit 1
fi
for program in mmdebstrap dpkg-deb unshare; do
	if ! command -v $program >/dev/null; then
		echo "make test-deb: $program is missing: apt-get install mmdebstrap dpkg util-linux" >&2
		exit 1
	fi
done
suites=${*:-bookworm trixie}
cache=${CACHE:-/var/cache/edgeswarm-chroot}
arch=$(dpkg --print-architecture)
base=/var/tmp/edgeswarm-test-deb
group=edgeswarm-test-deb
programs=${PROGRAMS:-bin} # of this machine

passed=0 failed=0
say() { printf '%s\n' "$*"; }
# check WHAT COMMAND...: one thing that must be so.
check() {
	local what=$1
	shift
	if "$@" >"$base.out" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		say "FAIL $suite: $what"
		sed 's/^/    /' "$base.out" | tail -20
	fi
}
not() { ! "$@"; }

# clear takes down what this run, or one that was interrupted, left.
clear() {
	if [ -s "$base.pid" ]; then
		kill -KILL "$(cat "$base.pid")" 2>/dev/null || true
		rm -f "$base.pid"
	fi
	awk -v b="$base/" 'index($5, b) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
	rm -rf "$base" "$base".*
	for _ in $(seq 50); do # what was killed leaves its control groups a moment later
		find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || true
		if [ -z "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$group")" ]; then break; fi
		sleep 0.1
	done
}
trap clear EXIT
trap 'say "test-deb: line $LINENO failed"' ERR
trap 'exit 130' INT TERM HUP
clear

# fetch makes a suite's chroot, with what the packages depend on downloaded but
# not installed.
fetch() {
	local tar=$cache/$suite-$arch.tar
	mkdir -p "$cache"
	if [ -n "$(find "$tar" -mtime -7 2>/dev/null)" ]; then return; fi
	say "making a chroot of $suite, once a week"
	mmdebstrap --quiet --variant=minbase --include=systemd,init-system-helpers,ca-certificates \
		--customize-hook='chroot "$1" apt-get clean; chroot "$1" apt-get install -qq -y --download-only --no-install-recommends containerd runc >/dev/null' \
		--skip=cleanup/apt "$suite" "$tar.new" http://deb.debian.org/debian
	mv "$tar.new" "$tar"
}

# pack VERSION: the packages of that version, in $base.deb/VERSION.
pack() {
	mkdir -p "$base.deb/$1" "$base.programs"
	for name in edged edge-wireguard edgectl; do cp -f "$programs/$name" "$base.programs/$name-linux-$arch"; done
	PROGRAMS=$base.programs OUT=$base.deb/$1 VERSION=v$1 STAMP=1790000000 COMPRESS=none build/deb.sh "$arch" >/dev/null
}

# inside COMMAND...: in the chroot, in the namespaces of its init: a board of its
# own, with its own processes, network and mounts.
inside() {
	nsenter --target "$(cat "$base.pid")" --mount --pid --net --uts --ipc --root --wd \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# boot starts systemd in the chroot, as a board of its own. The control groups
# are version 1's here and there: what this machine has.
boot() {
	local root=$base/root
	for h in /sys/fs/cgroup/*/; do
		if [ -e "$h/cgroup.procs" ]; then mkdir -p "$h$group"; fi
	done
	if [ -e /sys/fs/cgroup/cgroup.procs ]; then mkdir -p "/sys/fs/cgroup/$group"; fi
	cat >"$base/boot.sh" <<'BOOT'
set -eu
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
	for h in /sys/fs/cgroup/*/; do
		[ -e "$h/cgroup.procs" ] || continue
		name=$(basename "$h")
		mkdir "$root/sys/fs/cgroup/$name"
		case $name in
		systemd) options=none,name=systemd ;;
		unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"; continue ;;
		*) options=$name ;;
		esac
		mount -t cgroup -o "$options" cgroup "$root/sys/fs/cgroup/$name"
	done
fi
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200; do
	IFS=: read -r name major minor <<-NODE
		$node
	NODE
	mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
ip link set lo up
ip link add eth0 type veth peer name lan
ip addr add 10.99.0.1/24 dev eth0
ip link set lan up
ip link set eth0 up
cd "$root"
mkdir -p old
pivot_root . old
exec chroot . /bin/sh -c 'umount -l /old && exec env -i container=other SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 /lib/systemd/systemd --log-target=console --log-level=notice'
BOOT
	# It is moved to its control groups before it gets a namespace of them.
	setsid sh -c 'for f in /sys/fs/cgroup/*/"$0"/cgroup.procs /sys/fs/cgroup/"$0"/cgroup.procs; do
		case $f in */cpuset/*) [ ! -e "$f" ] || { d=${f%/*}; cat "$d/../cpuset.cpus" >"$d/cpuset.cpus"; cat "$d/../cpuset.mems" >"$d/cpuset.mems"; } ;; esac
		[ ! -e "$f" ] || echo $$ >"$f"
	done
	exec unshare --fork --kill-child --pid --mount --net --uts --ipc --cgroup --propagation private sh "$@"' \
		"$group" "$base/boot.sh" "$root" >"$base.console" 2>&1 </dev/null &
	local unshared=$!
	for _ in $(seq 100); do
		if [ -s "/proc/$unshared/task/$unshared/children" ]; then break; fi
		sleep 0.1
	done
	tr -d ' ' <"/proc/$unshared/task/$unshared/children" >"$base.pid"
	for _ in $(seq 600); do
		case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) return 0 ;; esac
		sleep 0.2
	done
	say "systemd of $suite did not come up:"
	tail -20 "$base.console"
	return 1
}

# soon COMMAND...: it becomes so within a minute.
soon() {
	for _ in $(seq 300); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	"$@"
}
ctl() { inside edgectl "$@"; }
running() { [ "$(ctl service ls --format '{{.Replicas}}')" = 2/2 ]; }
active() { [ "$(inside systemctl is-active "$1")" = active ]; }
mainpid() { inside systemctl show --property=MainPID --value "$1"; }
logpid() { inside sh -c 'grep -lzx "log[-]process" /proc/[0-9]*/cmdline 2>/dev/null | head -1'; }
socket=/run/containerd/containerd.sock
tasks() { inside ctr --address "$socket" --namespace edgeswarm tasks ls | sort; }
kept() { ctl doctor --format '{{.What}}' | grep -q "kept by edged"; }
same() { [ "$1" = "$2" ] || { printf 'was:\n%s\nis:\n%s\n' "$1" "$2"; return 1; }; }
differs() { [ -n "$2" ] && [ "$1" != "$2" ]; }
apt() { inside apt-get -qq -y --no-install-recommends "$@" </dev/null; }
install_version() { apt install "/root/$1/$(basename "$base.deb/$1/"edged_*)" "/root/$1/$(basename "$base.deb/$1/"edgectl_*)"; }
serve() {
	ctl init >/dev/null && ctl image load -q -i /root/web.tar &&
		ctl service create --quiet --name web --replicas 2 --limit-memory 32m --mount type=volume,source=data,target=/data web:1
}

installs() {
	check "apt installs edged with containerd and runc" install_version 0.1.0
	check "edged runs" soon active edged
	check "edged is enabled" inside systemctl --quiet is-enabled edged
	check "the unit is without fault" inside systemd-analyze verify --man=no /usr/lib/systemd/system/edged.service
	check "the configuration is root's alone" same "600 root" "$(inside stat -c '%a %U' /etc/edgeswarm/edge.yaml)"
	check "edgectl reaches it" soon ctl status
	check "it runs tasks in the system's containerd" soon not kept
	check "a service is created" serve
	check "its tasks run" soon running
	check "a command runs in a task" soon ctl task exec web.1 /bin/sh -c 'test -e /webd || test -d /proc'
	check "a page of the manual is there" inside test -s /usr/share/man/man1/edgectl-service-create.1.gz
	check "completion knows the commands" inside bash -c '. /usr/share/bash-completion/completions/edgectl && declare -F __start_edgectl'
}

upgrades() {
	local edged containerd logs tasks
	inside sh -c 'echo "label: {room: attic}" >>/etc/edgeswarm/edge.yaml'
	edged=$(mainpid edged) containerd=$(mainpid containerd) logs=$(logpid) tasks=$(tasks)
	check "apt upgrades it" install_version 0.2.0
	check "the new version is there" same 0.2.0 "$(inside dpkg-query -W -f '${Version}' edged)"
	check "edged was restarted" soon differs "$edged" "$(mainpid edged)"
	check "edged runs after the upgrade" soon active edged
	check "the tasks were not touched" same "$tasks" "$(tasks)"
	check "containerd was not touched" same "$containerd" "$(mainpid containerd)"
	check "the log process was not touched" same "$logs" "$(logpid)"
	check "the fleet is there again" soon running
	check "what the operator wrote is kept" inside grep -q attic /etc/edgeswarm/edge.yaml
}

removes() {
	local node
	node=$(ctl info --format '{{.NodeID}}')
	check "apt removes it" apt remove edged
	check "edged does not run" not active edged
	check "its tasks ended" same 1 "$(tasks | wc -l)"
	check "its log process ended" same "" "$(logpid)"
	check "its state is kept" inside test -e /var/lib/edgeswarm/VERSION
	check "its configuration is kept" inside grep -q attic /etc/edgeswarm/edge.yaml
	check "apt installs it again" install_version 0.2.0
	check "its tasks run again" soon running
	check "it is the same node" same "$node" "$(ctl info --format '{{.NodeID}}')"
}

purges() {
	inside sh -c 'for dir in /var/lib/edgeswarm/volumes/*/; do touch "$dir/witness"; done'
	check "apt purges it" apt purge edged
	check "edged is gone" not inside test -e /usr/bin/edged
	check "its keys and log are gone" same volumes "$(inside ls -A /var/lib/edgeswarm)"
	check "what tasks wrote is kept" inside sh -c 'test -n "$(find /var/lib/edgeswarm/volumes -name witness)"'
	check "its configuration is gone" not inside test -e /etc/edgeswarm
	check "its images are gone" same "" "$(inside ctr --namespace edgeswarm images ls -q)"
	check "nothing of it is enabled" same "" "$(inside sh -c 'find /etc/systemd /var/lib/systemd -name "edged*"')"
	check "nothing of it runs" same "" "$(inside sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null | grep edged')"
	inside rm -rf /var/lib/edgeswarm
}

# manages is a board whose system runs no containerd.
manages() {
	local containerd tasks
	socket=/run/edgeswarm/containerd/containerd.sock
	inside systemctl disable --now --quiet containerd
	inside ctr version >/dev/null 2>&1 || true
	check "apt installs it where no containerd runs" install_version 0.2.0
	check "edged keeps one" soon kept
	check "it is a unit of its own" active edged-containerd
	check "a service is created" soon serve
	check "its tasks run" soon running
	containerd=$(mainpid edged-containerd) tasks=$(tasks)
	inside systemctl restart edged
	check "edged is back" soon running
	check "containerd outlived it" same "$containerd" "$(mainpid edged-containerd)"
	check "so did the tasks" same "$tasks" "$(tasks)"
	for round in 1 2; do # the second time it is systemd that still knows the unit
		inside sh -c "kill -KILL $(mainpid edged-containerd)"
		check "containerd is started again ($round)" soon inside ctr --address "$socket" version
		check "the tasks took no notice ($round)" same "$tasks" "$(tasks)"
	done
	check "tasks can be started" soon ctl service update --quiet --force web
	check "apt purges it with the containerd it kept" apt purge edged
	check "that has ended" not active edged-containerd
	check "nothing of it runs" same "" "$(inside sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null | grep -E "edged|containerd|webd"')"
	socket=/run/containerd/containerd.sock
}

pack 0.1.0
pack 0.2.0
for suite in $suites; do
	fetch
	mkdir -p "$base/root"
	tar -C "$base/root" -xf "$cache/$suite-$arch.tar"
	cp -r "$base.deb/"* "$base/root/root/"
	"$programs/edgelab" image 1 >"$base/root/root/web.tar"
	boot
	before=$passed
	for part in installs upgrades removes purges manages; do
		begun=$SECONDS
		$part
		say "$suite: $part ($((SECONDS - begun)) s)"
	done
	say "$suite: $((passed - before)) checks passed"
	kill -KILL "$(cat "$base.pid")"
	rm -f "$base.pid"
	sleep 1
	rm -rf "$base"
done
say "test-deb: $passed passed, $failed failed"
exit $((failed > 0))
