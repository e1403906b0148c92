package ethernet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// snapLen is how much of a frame a capture keeps: all headers that matter, and
// not the images that boards hand each other.
const snapLen = 256

// capture writes frames in the pcap format, with nanoseconds
// (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html).
type capture struct{ w *bufio.Writer }

func newCapture(w io.Writer) (*capture, error) {
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	head = binary.LittleEndian.AppendUint16(head, 2) // version 2.4
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, snapLen)
	head = binary.LittleEndian.AppendUint32(head, 1) // Ethernet
	c := &capture{bufio.NewWriter(w)}
	if _, err := c.w.Write(head); err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	return c, nil
}

func (c *capture) add(at time.Time, f frame) error {
	kept := f[:min(len(f), snapLen)]
	head := binary.LittleEndian.AppendUint32(make([]byte, 0, 16), uint32(at.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(at.Nanosecond()))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(kept)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(f)))
	if _, err := c.w.Write(head); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	if _, err := c.w.Write(kept); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}
