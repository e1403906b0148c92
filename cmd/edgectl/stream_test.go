package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/edgeswarm/edgeswarm/api"
)

func TestExecPassesAllOn(t *testing.T) {
	f := newFleet()
	var start *api.ExecStart
	f.exec = func(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
		first, err := s.Recv()
		if err != nil {
			return err
		}
		start = first.Start
		for {
			in, err := s.Recv()
			if err != nil {
				return err
			}
			if in.EOF {
				break
			}
			_ = s.Send(&api.ExecOutput{Stream: "stdout", Data: bytes.ToUpper(in.Data)})
		}
		_ = s.Send(&api.ExecOutput{Stream: "stderr", Data: []byte("oops")})
		return s.Send(&api.ExecOutput{Exit: ptr(3)})
	}
	r := f.edgectlWith(t.Context(), t, strings.NewReader("hello"), "task", "exec", "-i", "-e", "A=1", "-w", "/x", "-u", "me", "web.1", "sh", "-c", "cat", "-t")
	if r.code != 3 || r.out != "HELLO" || r.err != "oops" {
		t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
	}
	same(t, "start", start, &api.ExecStart{Task: "web.1", Command: []string{"sh", "-c", "cat", "-t"}, Env: []string{"A=1"}, Dir: "/x", User: "me", Stdin: true})
	if r := f.edgectlWith(t.Context(), t, strings.NewReader("unread"), "task", "exec", "web.1", "true"); r.out != "" || r.code != 3 {
		t.Errorf("without -i: exit %d, %q", r.code, r.out)
	}
}

func TestExecThatCantBegin(t *testing.T) {
	f := newFleet()
	f.exec = func(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error {
		return api.Errorf(api.NotFound, "exec", "no task is called web.9: see edgectl service ps")
	}
	if r := f.edgectl(t, "task", "exec", "web.9", "sh"); r.code != exitUsage || !strings.Contains(r.err, "no task is called web.9") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	f.exec = func(s grpc.BidiStreamingServer[api.ExecInput, api.ExecOutput]) error { return nil }
	if r := f.edgectl(t, "task", "exec", "web.9", "sh"); r.code != exitUsage || !strings.Contains(r.err, "without an exit code") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
}

// collect takes an archive in and answers as a node does.
func collect(got *bytes.Buffer) func(grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
	return func(s grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
		for {
			chunk, err := s.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			got.Write(chunk.Data)
			_ = s.Send(&api.ImageProgress{Status: "loading", Current: int64(got.Len())})
		}
		_ = s.Send(&api.ImageProgress{Status: "copying to board2"})
		return s.Send(&api.ImageProgress{Done: true, Images: []*api.Image{{ID: "sha256:1", Names: []string{"docker.io/library/web:1"}}}})
	}
}

func TestImageLoad(t *testing.T) {
	archive := bytes.Repeat([]byte("0123456789"), 70_000) // three chunks
	file := filepath.Join(t.TempDir(), "web.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"file": {file}, "-i": {"-i", file}, "stdin": nil, "-": {"-"}} {
		f := newFleet()
		var got bytes.Buffer
		f.load = collect(&got)
		r := f.edgectlWith(t.Context(), t, bytes.NewReader(archive), append([]string{"image", "load"}, args...)...)
		if r.code != 0 || r.out != "Loaded image: docker.io/library/web:1\n" || r.err != "loading\ncopying to board2\n" || !bytes.Equal(got.Bytes(), archive) {
			t.Errorf("%s: exit %d, %q, %q, %d bytes", name, r.code, r.out, r.err, got.Len())
		}
	}
}

// A user who thinks that an image is safe on two boards must not be mistaken.
func TestImageLoadTellsOfASingleCopy(t *testing.T) {
	for copies, warns := range map[int]bool{0: false, 1: true, 2: false} {
		f := newFleet()
		f.load = func(s grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
			held := []api.NodeID{"a", "b"}[:copies]
			return s.Send(&api.ImageProgress{Done: true, Images: []*api.Image{{Names: []string{"docker.io/library/web:1"}}}, Copies: held})
		}
		r := f.edgectlWith(t.Context(), t, strings.NewReader("x"), "image", "load", "--quiet")
		if r.code != 0 || strings.Contains(r.err, "1 copy") != warns {
			t.Errorf("%d copies: exit %d, %q", copies, r.code, r.err)
		}
	}
}

func TestAnArchiveThatIsCutShortIsNotSentAsWhole(t *testing.T) {
	f := newFleet()
	whole := make(chan bool, 1)
	f.load = func(s grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
		for {
			if _, err := s.Recv(); err != nil {
				whole <- err == io.EOF
				return api.Errorf(api.Invalid, "load image", "the archive is truncated")
			}
		}
	}
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), &failing{})
	r := f.edgectlWith(t.Context(), t, broken, "image", "load")
	if r.code != 1 || !strings.Contains(r.err, "read archive: the pipe broke") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	if <-whole {
		t.Error("the node was told that the archive was complete")
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errBroken }

func TestANodeThatRefusesAnArchiveEarly(t *testing.T) {
	f := newFleet()
	f.load = func(s grpc.BidiStreamingServer[api.Chunk, api.ImageProgress]) error {
		_, _ = s.Recv()
		return api.Errorf(api.Invalid, "load image", "this is not an image archive: name one that docker save wrote")
	}
	endless := &repeating{}
	r := f.edgectlWith(t.Context(), t, endless, "image", "load")
	if r.code != 1 || !strings.Contains(r.err, "not an image archive") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
}

type repeating struct{}

func (*repeating) Read(p []byte) (int, error) { return len(p), nil }

func TestLogs(t *testing.T) {
	f := newFleet()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	line := func(task int, stream, text string, partial bool) *api.LogLine {
		tk := f.tasks[task]
		return &api.LogLine{Time: at, Stream: stream, Data: []byte(text), TaskID: tk.ID, NodeID: tk.NodeID, Service: "web", Slot: tk.Slot, Partial: partial}
	}
	f.logs = []*api.LogLine{
		line(0, "stdout", "hello", false), line(2, "stderr", "oops", false),
		line(0, "stdout", "a long ", true), line(0, "stdout", "line", false),
		line(0, "stdout", "cut ", true), line(2, "stdout", "between", false), line(0, "stdout", "off", true),
	}
	for name, args := range map[string]string{"logs": "web", "logs-flags": "-t --no-task-ids web", "logs-raw": "--raw web.1", "logs-ids": "--no-trunc --no-resolve web"} {
		r := f.edgectl(t, append([]string{"service", "logs"}, strings.Fields(args)...)...)
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, name, r.out+"-- standard error --\n"+r.err)
	}
	if r := f.edgectl(t, "task", "logs", "--tail", "7", "web.1"); r.code != 0 || r.out == "" {
		t.Errorf("task logs: %+v", r)
	}
	ones := requests[*api.LogsRequest](f)
	if one := ones[len(ones)-1]; one.Task != "t100000000000000000000000" || one.Service != "" || one.Tail != 7 || one.Follow {
		t.Errorf("task logs asks for %+v", one)
	}
	f.edgectl(t, "service", "logs", "-f", "--tail", "5", "--since", "2026-01-02T00:00:00Z", "web")
	asked := requests[*api.LogsRequest](f)
	last := asked[len(asked)-1]
	if !last.Follow || last.Tail != 5 || !last.Since.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) || last.Service != string(f.services[1].Service.ID) {
		t.Errorf("asked %+v", last)
	}
	if asked[0].Tail != -1 || asked[0].Task != "" && asked[0].Service != "" {
		t.Errorf("asked %+v", asked[0])
	}
}

func TestFollowingLogsEndsQuietlyWhenInterrupted(t *testing.T) {
	f := newFleet()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f.fail = func(method string) error {
		if method == "Logs" {
			interrupt()
		}
		return nil
	}
	if r := f.edgectlWith(ctx, t, nil, "service", "logs", "-f", "web"); r.code != exitInterrupted && r.code != 0 || r.err != "" {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
}

func TestDialStdioCarriesAConnection(t *testing.T) {
	f := newFleet()
	t.Setenv("EDGE_HOST", f.serve(t))
	in, tell := io.Pipe()
	hear, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(t.Context(), []string{"dial-stdio"}, streams{in: in, out: out, err: io.Discard})
		_ = out.Close()
	}()
	if _, err := io.WriteString(tell, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 9) // the server's settings
	if _, err := io.ReadFull(hear, frame); err != nil || frame[3] != 4 {
		t.Errorf("heard %v, %v", frame, err)
	}
	go func() { _, _ = io.Copy(io.Discard, hear) }()
	_ = tell.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestVersionWithAndWithoutANode(t *testing.T) {
	r := newFleet().edgectl(t, "version")
	if r.code != 0 || !strings.Contains(r.out, "Hostname:  board2") || !strings.Contains(r.out, "Client:") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	r = newFleet().edgectl(t, "--host", "unix:///nowhere/edged.sock", "version")
	if r.code != 0 || !strings.Contains(r.out, "Node: none reached") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if r = newFleet().edgectl(t, "version", "--format", "{{.Client.Version}} {{.Node.Version}}"); r.out != "dev v0.1.0\n" {
		t.Errorf("%q %s", r.out, r.err)
	}
}
