package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/qemu-tests/board"
)

// TestMemoryOfDocker is TestMemory with Debian's dockerd, a swarm of one, in place
// of edged, on the same board: for comparison.
func TestMemoryOfDocker(t *testing.T) {
	f := newFleet(t)
	b := f.plug(board.Virt, f.card(board.Virt))
	f.power(b)
	f.up(b)
	f.whole(booting, b)
	archive := f.busyboxArchive(b)
	f.shell(b, "systemctl stop edged containerd; systemctl stop 'edge*containerd*'; true")

	program, err := os.Open(filepath.Join(dist, "dockerd-linux-arm64"))
	f.do(err)
	defer program.Close()
	said, err := b.Exec(f.within(booting), program, "cat >/data/dockerd && chmod 755 /data/dockerd")
	f.do(err)
	if said.Code != 0 {
		t.Fatal(said.Err)
	}
	f.shell(b, "setsid /data/dockerd --data-root /data/docker --host unix:///run/docker.sock --iptables=false --ip6tables=false --bridge=none >/run/dockerd.log 2>&1 </dev/null &")
	d := docker{f: f, client: http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return b.Dial(ctx, "/run/docker.sock")
	}}}}
	f.until("dockerd answers", booting, func() error { return d.try(http.MethodGet, "/_ping", nil, nil) })
	d.must("/swarm/init", map[string]any{"ListenAddr": "0.0.0.0:2378", "AdvertiseAddr": "127.0.0.1"}, nil)
	time.Sleep(rest)
	t.Logf("idle: %s", f.memory(b))

	f.do(d.load(archive))
	tasks := 0
	for ; f.available(b) > headroom; tasks += step {
		for range step {
			var made struct{ ID string }
			d.must("/containers/create", map[string]any{"Image": "busybox:1", "HostConfig": map[string]any{"NetworkMode": "none"}}, &made)
			d.must("/containers/"+made.ID+"/start", nil, nil)
		}
		t.Logf("%d containers: %d kB available", tasks+step, f.available(b))
	}
	time.Sleep(rest)
	t.Logf("%d sleeping containers: %s", tasks, f.memory(b))
}

// docker speaks with dockerd's HTTP interface.
type docker struct {
	f      *fleet
	client http.Client
}

func (d *docker) must(path string, in, out any) {
	d.f.t.Helper()
	d.f.do(d.try(http.MethodPost, path, in, out))
}

func (d *docker) try(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	return d.do(method, path, "application/json", bytes.NewReader(body), out)
}

func (d *docker) load(archive []byte) error {
	return d.do(http.MethodPost, "/images/load", "application/x-tar", bytes.NewReader(archive), nil)
}

func (d *docker) do(method, path, kind string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(d.f.within(patient), method, "http://docker"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
