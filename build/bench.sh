#!/bin/sh
# The figures of docs/benchmarks.md, as rows of its table: all of them (about
# 20 minutes, most of it an idle fleet left alone), or those that are named:
# build/bench.sh idle --settle 1m
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
	echo "make bench: run it as root: it makes network namespaces and runs containers" >&2
	exit 1
fi
case "$#:$*" in
0:* | *size*) make --no-print-directory -s dist >&2 ;;
esac
exec bin/edgelab bench "$@"
