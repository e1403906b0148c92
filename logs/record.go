package logs

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

const (
	headerSize = 20
	marker     = 0xED
	// MaxLine is the most bytes of a line that one record holds.
	MaxLine = 16 << 10
	// maxRecord is the most bytes of a record.
	maxRecord = headerSize + MaxLine
)

const (
	flagStderr = 1 << iota
	flagPartial
	flagNote
	flagsKnown = flagStderr | flagPartial | flagNote
)

var (
	errIncomplete = errors.New("record is incomplete")
	errCorrupt    = errors.New("not a record")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

// record is a line, or a piece of one, as it is stored.
type record struct {
	at      time.Time
	flags   byte
	attempt uint32
	data    []byte
}

func (r record) partial() bool { return r.flags&flagPartial != 0 }

func (r record) line(task api.TaskID) api.LogLine {
	stream := "stdout"
	if r.flags&flagStderr != 0 {
		stream = "stderr"
	}
	return api.LogLine{Time: r.at, Stream: stream, Data: r.data, TaskID: task, Partial: r.partial()}
}

// appendRecord adds a record to b. Its data must fit: see MaxLine.
func appendRecord(b []byte, r record) []byte {
	at := len(b)
	b = append(b, marker, r.flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.data)))
	b = binary.BigEndian.AppendUint32(b, r.attempt)
	b = binary.BigEndian.AppendUint64(b, uint64(r.at.UnixNano()))
	sum := crc32.Update(crc32.Checksum(b[at:], castagnoli), castagnoli, r.data)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, r.data...)
}

// decodeRecord reads the record at the start of b and answers its size. Its
// data is a part of b.
func decodeRecord(b []byte) (r record, size int, err error) {
	if len(b) == 0 {
		return r, 0, errIncomplete
	}
	if b[0] != marker || len(b) > 1 && b[1]&^flagsKnown != 0 {
		return r, 0, errCorrupt
	}
	if len(b) < headerSize {
		return r, 0, errIncomplete
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length > MaxLine {
		return r, 0, errCorrupt
	}
	size = headerSize + length
	if len(b) < size {
		return r, 0, errIncomplete
	}
	sum := crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[headerSize:size])
	if sum != binary.BigEndian.Uint32(b[16:]) {
		return r, 0, errCorrupt
	}
	return record{
		at:      time.Unix(0, int64(binary.BigEndian.Uint64(b[8:]))),
		flags:   b[1],
		attempt: binary.BigEndian.Uint32(b[4:]),
		data:    b[headerSize:size:size],
	}, size, nil
}

// recordSize is the size of the record at the start of b.
func recordSize(b []byte) int { return headerSize + int(binary.BigEndian.Uint16(b[2:])) }

// wholeRecords counts the records of b, which holds nothing else, that lie
// within its first n bytes, and answers where the last of them ends.
func wholeRecords(b []byte, n int) (count, end int) {
	for end+headerSize <= n {
		next := end + recordSize(b[end:])
		if next > n {
			break
		}
		count, end = count+1, next
	}
	return count, end
}
