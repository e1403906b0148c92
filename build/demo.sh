#!/bin/bash
# The main job, start to end, on three boards in network namespaces. It prints
# each command as a person would type it. KEEP=1 leaves the boards up.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
	echo "make demo: run it as root: it makes network namespaces and runs containers" >&2
	exit 1
fi

up=""
passed=""
finish() {
	status=$?
	trap '' INT TERM HUP PIPE # a second Ctrl-C must not cut the sweeping short,
	set +e                    # nor a terminal or a pipe that is gone
	if [ -n "${KEEP:-}" ] && [ -n "$up" ]; then
		echo
		echo "The boards stay up. Try:"
		echo "  export EDGE_HOST=unix:///run/edgelab/node$asked/edged.sock"
		echo "  bin/edgectl node ls"
		echo "  bin/edgelab board kill 3; bin/edgelab board start 3"
		echo "They are gone with: make lab-down"
		exit $status
	fi
	case $status in
	129 | 130 | 141 | 143) ;; # it was interrupted
	*)
		[ -n "$passed" ] || {
			echo "demo: failed; the boards' own words:"
			tail -n 5 /var/lib/edgelab/node*/edged.log 2>/dev/null
		} >&2
		;;
	esac
	# In a session of its own, where the terminal's Ctrl-C does not reach it.
	setsid --wait bin/edgelab down || status=1
	exit $status
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
show() { # prints a command as typed, and runs it
	printf '\033[2m$\033[0m %s\n' "$*"
	"$@"
}
edgectl() { bin/edgectl --host "unix:///run/edgelab/node$asked/edged.sock" "$@"; }
asked=1

# until COMMAND: repeats it until it succeeds, for at most a minute.
until_ok() {
	for _ in $(seq 600); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "demo: gave up waiting for: $*" >&2
	"$@" || return 1
}
fleet_of() { [ "$(edgectl node ls --format '{{.Status}}' | grep -c Ready)" -eq "$1" ]; }
voters() { [ "$(edgectl node ls --format '{{.ManagerStatus}}' | grep -cE 'Leader|Reachable')" -eq "$1" ]; }
running() { [ "$(edgectl service ls --filter name=web --format '{{.Replicas}}')" = "$1" ]; }
leader() { edgectl node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 == "Leader" { print $1 }'; }

say "Three boards on one LAN. Each holds the same fleet key, and no address of another."
key=$(bin/edgectl fleet-key)
show bin/edgelab up --nodes 3 --fleet-key "$key"
up=yes
begin=$(date +%s%N)
until_ok fleet_of 3
until_ok voters 3
awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "(one fleet, three voters, %.1f s after the last board was powered on)\n", ns / 1e9 }'
show edgectl node ls
show edgectl status

say "An image goes into the fleet: no registry, and acknowledged once two boards hold it."
work=/var/lib/edgelab/images # goes when the lab goes
mkdir "$work"
bin/edgelab image 1 >"$work/web-1.tar"
bin/edgelab image 2 >"$work/web-2.tar"
show edgectl image load -i "$work/web-1.tar"
show edgectl image load -i "$work/web-2.tar"
show edgectl image ls

say "A service of six replicas. Each answers HTTP on a port of its board."
show edgectl service create --name web --replicas 6 --publish mode=host,target=8080 web:1
show edgectl service ls
show edgectl service ps web

visit() { # asks every running replica from a laptop on the LAN
	edgectl service ps web --filter desired-state=running --format '{{.Node}} {{.Ports}}' | while read -r board ports; do
		port=${ports##*:}
		port=${port%%-*}
		ip netns exec edgelab-lan curl -fsS --max-time 5 "http://10.77.0.${board#board}:$port/" || return 1
	done
}
printf '\033[2m$\033[0m %s\n' "curl http://BOARD:PORT/   # for each of the six"
visit

say "A rolling update: two at a time, ten seconds between."
show edgectl service update --image web:2 --parallelism 2 --delay 10s web
printf '\033[2m$\033[0m %s\n' "curl http://BOARD:PORT/"
visit
show edgectl service ps web

say "Who votes is the fleet's affair; an operator may have a say. Of two managers only one votes: two would survive no more."
worker=$(edgectl node ls --format '{{.Hostname}} {{.ManagerStatus}}' | awk '$2 != "Leader" { print $1 }' | tail -1)
show edgectl node demote "$worker"
until_ok voters 1
show edgectl node ls
show edgectl node promote "$worker"
until_ok voters 3
show edgectl node ls

lost=$(leader)
say "The leader's board, $lost, loses power: edged, containerd and its tasks are killed at once."
[ "$lost" != board1 ] || asked=2
show bin/edgelab board kill "${lost#board}"
begin=$(date +%s%N)
until_ok edgectl service update --label-add lost="$lost" --detach web
awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "(the next write was accepted %.1f s later)\n", ns / 1e9 }'
moved() { [ "$(edgectl service ps web --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' | grep -v "^$lost " | grep -c Running)" -eq 6 ]; }
until_ok moved
awk -v ns=$(($(date +%s%N) - begin)) 'BEGIN { printf "(six replicas run on two boards %.1f s after the loss)\n", ns / 1e9 }'
show edgectl node ls
show edgectl service ps web
visit

say "Its power comes back: it rejoins by itself."
show bin/edgelab board start "${lost#board}"
until_ok fleet_of 3
until_ok voters 3
show edgectl node ls
show edgectl status
passed=yes
say "Done."
