package logs

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/edgeswarm/edgeswarm/api"
)

// The log process is spoken to over a Unix socket: a request, then its answer,
// each a length of 4 bytes, big-endian, and so many bytes of api.Encode.

type operation string

const (
	opHello  operation = "hello"  // answered at once; the connection may then be held to learn of the process's end
	opOpen   operation = "open"   // FIFOs of Task and Attempt
	opClose  operation = "close"  // the same
	opRemove operation = "remove" // Task
	opRetain operation = "retain" // all but Tasks are removed
	opFlush  operation = "flush"  // what is pending of Tasks
	opWatch  operation = "watch"  // answers again after each change of Tasks
	opStop   operation = "stop"   // ends the process
)

type request struct {
	Op      operation
	Task    api.TaskID
	Attempt int
	Tasks   []api.TaskID
}

type response struct {
	Kind           api.Kind // with Err
	Err            string
	Stdout, Stderr string
}

const maxFrame = 1 << 20

func writeFrame(w io.Writer, v any) error {
	raw, err := api.Encode(v)
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(raw)), uint32(len(raw)))
	_, err = w.Write(append(frame, raw...))
	return err
}

func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return fmt.Errorf("message of %d bytes is longer than %d", size, maxFrame)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return api.Decode(raw, v)
}
