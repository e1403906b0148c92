// Package keepdeps pins modules until the rooms that use them are built.
package keepdeps

import (
	_ "github.com/anishathalye/porcupine"
	_ "github.com/containerd/containerd/v2/client"
	_ "github.com/containerd/containerd/v2/core/images/archive"
	_ "github.com/containerd/containerd/v2/core/remotes/docker"
	_ "github.com/containerd/containerd/v2/pkg/cio"
	_ "github.com/containerd/containerd/v2/pkg/oci"
	_ "github.com/fxamacker/cbor/v2"
	_ "github.com/google/nftables"
	_ "github.com/grandcat/zeroconf"
	_ "github.com/hashicorp/go-immutable-radix/v2"
	_ "github.com/hashicorp/raft"
	_ "github.com/miekg/dns"
	_ "github.com/quic-go/quic-go"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/pflag"
	_ "github.com/vishvananda/netlink"
	_ "github.com/vishvananda/netns"
	_ "go.etcd.io/bbolt"
	_ "go.uber.org/goleak"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "google.golang.org/grpc"
	_ "pgregory.net/rapid"
)
