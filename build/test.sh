#!/bin/sh
# All tests, and at the end a line that counts them. What needs a component
# fails without it; nothing skips.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
	echo "make test: run it as root: it makes network namespaces and runs containers" >&2
	exit 1
fi
export EDGE_TEST_BIN="$PWD/bin"
make --no-print-directory check
exec go tool gotestsum --format pkgname ${EDGE_TEST_RESULTS:+--jsonfile="$EDGE_TEST_RESULTS/test.json"} -- -tags grpcnotrace,nethttpomithttp2 -p 2 -timeout 20m ./...
