#!/bin/sh
# What `make test-qemu` does: the pure rooms as 32-bit ARM programs, and the
# core of the tests with emulated boards. With ALL=1 all of these tests, which
# takes hours. What is missing fails; nothing skips.
set -eu
cd "$(dirname "$0")/.."
export EDGE_TEST_BIN="$PWD/bin"
for arch in arm64 amd64; do
	CGO_ENABLED=0 GOARCH=$arch go build -trimpath -ldflags "-s -w" -o "bin/webd-$arch" ./internal/lab/webd
done
# Of this machine's kind, whatever it runs.
go build -o bin/gotestsum gotest.tools/gotestsum

results() { # name of the file for the results, where the caller wants them
	if [ -n "${EDGE_TEST_RESULTS:-}" ]; then
		echo "--jsonfile=$EDGE_TEST_RESULTS/$1.json"
	fi
}

echo "pure rooms on 32-bit ARM:"
CGO_ENABLED=0 GOARCH=arm GOARM=6 bin/gotestsum --format pkgname $(results arm) -- -tags grpcnotrace -timeout 20m -exec qemu-arm-static \
	./api/... ./identity/... ./store/... ./manager/orchestrator/... ./manager/scheduler/... ./manager/roles/... ./manager/forecast/...

echo "emulated boards:"
if [ -n "${ALL:-}" ]; then
	exec bin/gotestsum --format standard-verbose $(results boards) -- -count 1 -timeout 6h -parallel 2 ./qemu-tests -qemu.all
fi
exec bin/gotestsum --format standard-verbose $(results boards) -- -count 1 -timeout 40m ./qemu-tests -qemu
