# Edgeswarm. `make demo` shows it, `make test` proves it; the rest is for
# those who build it. Every target sets up what it needs by itself.

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STAMP    := $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)
PKG      := github.com/edgeswarm/edgeswarm/internal/build
# Registries are asked by HTTP/1.1, so that the program has HTTP/2 once, for gRPC.
TAGS     := grpcnotrace,nethttpomithttp2
GOFLAGS_ := -trimpath -buildvcs=false -tags $(TAGS) -ldflags "-s -w -X $(PKG).Version=$(VERSION) -X $(PKG).unix=$(STAMP)"
# What others wrote and a board seldom runs is not inlined: 1.2 MiB less. otel's
# names are: inlined, the compiler lays them out and the linker drops them.
SELDOM   := github.com/... google.golang.org/... go.opentelemetry.io/... golang.org/... go.yaml.in/... \
            crypto/hpke crypto/internal/fips140/drbg crypto/internal/fips140/rsa crypto/tls crypto/x509 \
            encoding/json encoding/asn1 encoding/csv fmt net net/http net/rpc net/textproto net/url os \
            text/... regexp/... mime/... go/... log/... vendor/... math/big archive/...
OFTEN    := $(addprefix github.com/edgeswarm/edgeswarm/,api/... consensus/... manager/... store/... transport/... image/... logs/... internal/...) \
            github.com/quic-go/... github.com/klauspost/... $(addprefix go.opentelemetry.io/otel/,attribute/... semconv/...)
GCFLAGS_ := $(SELDOM:%=-gcflags='%=-l') $(OFTEN:%=-gcflags='%=')
GOBUILD  := CGO_ENABLED=0 go build $(GOFLAGS_) $(GCFLAGS_)
NODES    ?= 3

.PHONY: build dist size deb test-deb image image-check image-lock deps deps-image deps-qemu lab lab-down demo test test-qemu test-qemu-all check fmt bench bench-swarm clean

build: ## bin/edged, bin/edgectl and the lab's tools, for this machine
	@mkdir -p bin
	$(GOBUILD) -o bin/ ./cmd/... ./internal/lab/webd

DIST := edged-linux-amd64 edged-linux-arm64 edged-linux-arm \
        edge-wireguard-linux-amd64 edge-wireguard-linux-arm64 edge-wireguard-linux-arm \
        edgectl-linux-amd64 edgectl-linux-arm64 edgectl-linux-arm \
        edgectl-darwin-amd64 edgectl-darwin-arm64 edgectl-windows-amd64.exe

dist: $(addprefix dist/,$(DIST)) ## the same for every platform we support
dist/%: FORCE
	@mkdir -p dist
	GOOS=$(word 2,$(subst -, ,$(basename $*))) GOARCH=$(word 3,$(subst -, ,$(basename $*))) GOARM=6 \
		$(GOBUILD) -o $@ ./cmd/$(word 1,$(subst -, ,$*))
dist/edge-wireguard-linux-%: FORCE
	@mkdir -p dist
	GOOS=linux GOARCH=$* GOARM=6 $(GOBUILD) -o $@ ./cmd/edge-wireguard
FORCE:

ARCH ?= arm64
IMAGE_PROGRAMS := $(addprefix dist/,$(addsuffix -linux-$(ARCH),edged edgectl edgeboot edgeinit))

image: deps-image $(IMAGE_PROGRAMS) ## dist/edgeswarm-ARCH.img.xz, to flash (ARCH=arm64 or amd64)
	go run ./build/image --arch $(ARCH) --epoch $(STAMP)

image-check: image ## build it once more: two builds must make one image
	go run ./build/image --arch $(ARCH) --epoch $(STAMP) --out dist/check
	cmp dist/edgeswarm-$(ARCH).img.xz dist/check/edgeswarm-$(ARCH).img.xz && rm -r dist/check

image-lock: deps-image ## pin Debian's newest packages for the images
	go run ./build/image lock --arch arm64
	go run ./build/image lock --arch amd64

dist/edgeboot-linux-% dist/edgeinit-linux-%: FORCE
	@mkdir -p dist
	GOOS=linux GOARCH=$* $(GOBUILD) -o dist/edgeboot-linux-$* ./build/edgeboot
	GOOS=linux GOARCH=$* $(GOBUILD) -o dist/edgeinit-linux-$* ./build/edgeinit

deps-image: ## what making an image needs, from Debian
	@build/deps.sh image

size: dist ## print each size; fail over budget
	@build/size.sh

DEBARCH := amd64 arm64 armhf

deb: $(foreach p,edged edge-wireguard edgectl,$(foreach a,$(DEBARCH:armhf=arm),dist/$p-linux-$a)) ## Debian packages: dist/*.deb
	@rm -f dist/*.deb
	@VERSION=$(VERSION) STAMP=$(STAMP) build/deb.sh $(DEBARCH)

test-deb: ## install, upgrade, purge them in bookworm and trixie (root; about 4 minutes)
	@build/test-deb.sh

deps: ## what a board and the tests need, from Debian
	@build/deps.sh

lab: deps build ## NODES=n boards to play with
	bin/edgelab up --nodes $(NODES) --wait
	@echo
	@echo "$(NODES) boards are up, and one fleet. Try:"
	@echo "  bin/edgectl --host unix:///run/edgelab/node1/edged.sock node ls"
	@echo "They are gone with: make lab-down"

lab-down: ## take the lab away
	@test -x bin/edgelab || $(MAKE) --no-print-directory build
	bin/edgelab down

demo: deps build ## the main job, in one command (KEEP=1 leaves it up)
	@build/demo.sh

test: deps build ## all tests, with all they need
	@build/test.sh

test-qemu: deps deps-qemu build image ## fleets of emulated boards that boot the image
	@build/test-qemu.sh

test-qemu-all: deps deps-qemu build image ## all of them: hours
	@$(MAKE) --no-print-directory image ARCH=amd64
	@build/dockerd.sh
	@ALL=1 build/test-qemu.sh

deps-qemu: ## what emulated boards take, from Debian
	@build/deps.sh qemu

check: ## what a reviewer's machine checks before reading
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "run: make fmt"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet -tags $(TAGS) ./...
	go vet -tags manual ./cmd/...

fmt:
	gofmt -w $$(git ls-files '*.go')

bench: deps build ## the figures of docs/benchmarks.md
	@build/bench.sh

bench-swarm: deps build ## side by side with Docker Swarm on this machine
	@build/bench-swarm.sh

clean:
	rm -rf bin dist
