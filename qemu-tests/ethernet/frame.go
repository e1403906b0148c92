package ethernet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// headerSize is that of an Ethernet frame: two addresses and a type.
	headerSize = 14
	// maxFrame is more than any frame without jumbo payloads or offloading; QEMU's
	// stream sockets carry neither.
	maxFrame = 65536
)

// errRunt is a frame that is shorter than its own header.
var errRunt = errors.New("frame without a whole header")

// MAC is a hardware address.
type MAC [6]byte

// group reports whether frames to it go to several: multicast, or broadcast.
func (m MAC) group() bool { return m[0]&1 != 0 }

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// frame is one Ethernet frame, from its destination address to the end of its
// payload. It is never changed once read: ports share it.
type frame []byte

func (f frame) to() MAC   { return MAC(f[0:6]) }
func (f frame) from() MAC { return MAC(f[6:12]) }

// readFrame reads a frame as QEMU's `-netdev stream` writes it: its length in
// four bytes, the largest first, and then its bytes. After errRunt the stream
// can be read on; after any other error it can't.
func readFrame(r io.Reader) (frame, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err // io.EOF between two frames is the board's end
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes: more than %d", n, maxFrame)
	}
	f := make(frame, n)
	if _, err := io.ReadFull(r, f); err != nil {
		return nil, fmt.Errorf("read frame of %d bytes: %w", n, noEOF(err))
	}
	if n < headerSize {
		return nil, errRunt
	}
	return f, nil
}

// noEOF makes the end of a stream inside a frame what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeFrame is readFrame's counterpart. It writes once, so that two frames
// never mix.
func writeFrame(w io.Writer, f frame) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(f)), uint32(len(f))), f...))
	return err
}
