package disk

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// served hands a card out at a socket until the test ends.
func served(t *testing.T, c *Card) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "nbd")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, c, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return socket
}

// qemuIO does to the card what QEMU would, with QEMU's own client.
func qemuIO(t *testing.T, socket string, commands ...string) string {
	t.Helper()
	args := []string{"-f", "raw"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, _ := exec.CommandContext(t.Context(), "qemu-io", append(args, "nbd+unix:///?socket="+socket)...).CombinedOutput()
	return string(out)
}

func TestQEMUReadsAndWrites(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 2), Size: 1 << 20})
	socket := served(t, c)
	out := qemuIO(t, socket, "length", "read -P 1 0 4096", "write -P 0x55 512k 64k", "flush", "write -P 0x66 0 512", "read -P 0x66 0 512")
	if !strings.HasPrefix(out, "1 MiB\n") || strings.Contains(out, "failed") || strings.Contains(out, "rror") {
		t.Errorf("qemu-io says: %s", out)
	}
	if s := c.Stats(); s.Writes != 2 || s.Flushes == 0 {
		t.Errorf("%+v", s)
	}
	holds(t, c, "what QEMU wrote", 512<<10, 64<<10, 0x55)
	c.Break(Fault{Reads: true})
	if out := qemuIO(t, socket, "read 0 512"); !strings.Contains(out, "Input/output error") {
		t.Errorf("of a card that fails to read: %s", out)
	}
	c.Break(Fault{Full: true})
	if out := qemuIO(t, socket, "write 900k 512"); !strings.Contains(out, "No space left on device") {
		t.Errorf("of a full card: %s", out)
	}
}

// TestServeOutlivesABadClient: what can't be understood ends the connection,
// and the next client is served.
func TestServeOutlivesABadClient(t *testing.T) {
	c := newTestCard(t, Config{Image: image(t, 2)})
	socket := served(t, c)
	for _, in := range []string{"", "\x00\x00\x00\x03", "\x00\x00\x00\x03garbage garbage garbage", "\x00\x00\x00\x01IHAVEOPT\x00\x00\x00\x07\xff\xff\xff\xff"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, in); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	if out := qemuIO(t, socket, "read -P 1 0 512"); strings.Contains(out, "failed") {
		t.Error(out)
	}
}

// FuzzSession: no client makes the server panic, hang or take much memory.
func FuzzSession(f *testing.F) {
	c := newTestCard(f, Config{Image: image(f, 2)})
	request := func(typ uint16, off uint64, n uint32, data string) string {
		b := binary.BigEndian.AppendUint32(nil, requestMagic)
		b = binary.BigEndian.AppendUint16(b, 0)
		b = binary.BigEndian.AppendUint16(b, typ)
		b = binary.BigEndian.AppendUint64(b, 7)
		b = binary.BigEndian.AppendUint64(b, off)
		return string(binary.BigEndian.AppendUint32(b, n)) + data
	}
	hello := "\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x00"
	f.Add([]byte(hello + request(cmdWrite, 0, 4, "abcd") + request(cmdRead, 0, 4, "") + request(cmdFlush, 0, 0, "") + request(cmdDisc, 0, 0, "")))
	f.Add([]byte(hello + request(cmdRead, 1<<63, 1, "") + request(99, 0, 0, "")))
	f.Add([]byte("\x00\x00\x00\x01IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x02\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { _ = serveOne(t.Context(), theirs, c) })
		serving.Go(func() { _, _ = io.Copy(io.Discard, ours) })
		_, _ = ours.Write(in)
		_ = ours.Close()
		serving.Wait()
	})
}
