#!/bin/sh
# Side by side with Debian's Docker Swarm, on this machine and in one run.
# FAULTS=1 also kills a leader and a board on each side. OVERLAYS=5 measures
# networks between boards instead, five times.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
	echo "make bench-swarm: run it as root: it makes network namespaces and runs containers" >&2
	exit 1
fi
if [ ! -x /usr/sbin/dockerd ] || ! command -v iperf3 >/dev/null || ! command -v ping >/dev/null || ! command -v nsenter >/dev/null; then
	echo "installing: docker.io iperf3 iputils-ping util-linux" >&2
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# Runlevel 1 keeps the package from starting a dockerd of its own.
	if ! { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io iperf3 iputils-ping util-linux; } >"$log" 2>&1; then
		cat "$log" >&2
		exit 1
	fi
	rm -f "$log"
	trap - EXIT
fi
exec bin/edgelab bench-swarm --faults "${FAULTS:-0}" --overlays "${OVERLAYS:-0}" "$@"
