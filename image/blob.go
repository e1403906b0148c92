package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/transport"
)

// The blob protocol (transport.Blob): one blob a stream. The asker sends a
// request, the holder a response and, if it has the blob, its bytes from
// Offset to the end. Both messages are CBOR behind a 16-bit length, big-endian.
type (
	blobRequest struct {
		Digest string
		Offset int64
	}
	blobResponse struct {
		Found bool
		Size  int64  // of the whole blob
		Error string `json:",omitempty"` // why it can't be served now
	}
)

const (
	maxBlobMessage = 4 << 10
	// blobTimeout bounds the two messages, and each silence in the middle.
	blobTimeout = 10 * time.Second
)

func writeMessage(w io.Writer, v any) error {
	raw, err := api.Encode(v)
	if err != nil {
		return err
	}
	if len(raw) > maxBlobMessage {
		return fmt.Errorf("message of %d bytes is too long", len(raw))
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...))
	return err
}

func readMessage(r io.Reader, v any) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxBlobMessage {
		return fmt.Errorf("message of %d bytes is too long", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	return api.Decode(raw, v)
}

// Serve answers neighbours that ask for blobs, until ctx ends.
func (s *Store) Serve(ctx context.Context, ln transport.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var streams sync.WaitGroup
	defer streams.Wait()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept blob stream: %w", err)
		}
		streams.Go(func() {
			release := context.AfterFunc(ctx, func() { conn.Close() })
			defer release()
			defer conn.Close()
			if err := s.serveBlob(ctx, conn); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Debug("blob not served", "peer", conn.Peer().ID, "err", err)
			}
		})
	}
}

func (s *Store) serveBlob(ctx context.Context, conn transport.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(blobTimeout)); err != nil {
		return err
	}
	var req blobRequest
	if err := readMessage(conn, &req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	d, err := digest.Parse(req.Digest)
	if err != nil || req.Offset < 0 {
		return writeMessage(conn, blobResponse{Error: "no such digest or offset"})
	}
	blob, err := s.cfg.Client.ContentStore().ReaderAt(ctx, ocispec.Descriptor{Digest: d})
	if errdefs.IsNotFound(err) {
		return writeMessage(conn, blobResponse{})
	}
	if err != nil {
		return writeMessage(conn, blobResponse{Error: err.Error()})
	}
	defer blob.Close()
	if err := writeMessage(conn, blobResponse{Found: true, Size: blob.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(patient{conn}, io.NewSectionReader(blob, req.Offset, max(0, blob.Size()-req.Offset)))
	if err != nil {
		return fmt.Errorf("send blob: %w", err)
	}
	return conn.CloseWrite()
}

// patient pushes a connection's deadline on with each piece: a slow line is
// fine, a dead one is not.
type patient struct{ transport.Conn }

func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(blobTimeout)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(blobTimeout)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// errNotHeld: the neighbour answered that it does not have the blob.
var errNotHeld = errors.New("does not have it")

// remoteBlob reads a blob from one node. It asks when it is first read, from
// the offset it was told to seek to: what a broken transfer left is not
// fetched again.
type remoteBlob struct {
	ctx    context.Context // of the fetch that it serves, which it does not outlive
	dial   func(context.Context, api.NodeID) (transport.Conn, error)
	node   api.NodeID
	digest digest.Digest
	offset int64

	conn transport.Conn
	stop func() bool
}

// Seek moves to an offset from the start, before the first Read.
func (r *remoteBlob) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart || r.conn != nil {
		return 0, errors.New("a remote blob seeks once, from its start")
	}
	r.offset = offset
	return offset, nil
}

func (r *remoteBlob) Read(b []byte) (int, error) {
	if r.conn == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	return patient{r.conn}.Read(b)
}

func (r *remoteBlob) open() error {
	conn, err := r.dial(r.ctx, r.node)
	if err != nil {
		return err
	}
	resp, err := exchange(conn, blobRequest{Digest: r.digest.String(), Offset: r.offset})
	if err == nil && resp.Error != "" {
		err = errors.New(resp.Error)
	}
	if err == nil && !resp.Found {
		err = errNotHeld
	}
	if err != nil {
		conn.Close()
		return err
	}
	r.conn = conn
	r.stop = context.AfterFunc(r.ctx, func() { conn.Close() }) // a read on a dead line ends with ctx
	return nil
}

func (r *remoteBlob) Close() error {
	if r.conn == nil {
		return nil
	}
	r.stop()
	return r.conn.Close()
}

func exchange(conn transport.Conn, req blobRequest) (blobResponse, error) {
	var resp blobResponse
	err := conn.SetDeadline(time.Now().Add(blobTimeout))
	if err == nil {
		err = writeMessage(conn, req)
	}
	if err == nil {
		err = readMessage(conn, &resp)
	}
	return resp, err
}

func short(d digest.Digest) string {
	if e := d.Encoded(); len(e) > 12 {
		return e[:12]
	}
	return d.String()
}
