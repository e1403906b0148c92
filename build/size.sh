#!/bin/sh
# Prints the size of every binary of dist/ and fails over budget.
set -eu
cd "$(dirname "$0")/.."
status=0
mib=1048576
for f in dist/*; do
	case $f in
	*edged-*-amd64) budget=22 ;; # mini-PCs have the room; its code is larger
	*edged-*) budget=20 ;;
	*edgectl-*) budget=15 ;;
	*edge-wireguard-*) budget=4 ;;
	*) continue ;;
	esac
	size=$(wc -c <"$f")
	verdict=ok
	if [ "$size" -gt $((budget * mib)) ]; then verdict="OVER BUDGET" status=1; fi
	awk -v f="${f#dist/}" -v s="$size" -v b="$budget" -v v="$verdict" 'BEGIN { printf "%-28s %6.2f MiB of %d  %s\n", f, s/1048576, b, v }'
done
exit $status
