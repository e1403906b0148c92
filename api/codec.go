package api

import (
	"bytes"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Limits on what a decoder accepts, so that a hostile peer costs little: an
// empty map is one byte on the wire and a whole struct in memory.
const (
	maxNesting  = 32
	maxElements = 1 << 16 // of a list in a message
	maxStored   = 1 << 20 // of a list in a snapshot
)

var (
	encoder = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, Time: cbor.TimeRFC3339Nano, TimeTag: cbor.EncTagNone}.EncMode())
	// lenient reads what a newer peer says, passing over fields it does not know.
	lenient = must(decoding(maxElements, cbor.ExtraDecErrorNone).DecMode())
	// strict reads what must not lose a field: log entries and snapshots.
	strict = must(decoding(maxStored, cbor.ExtraDecErrorUnknownField).DecMode())
)

// decoding has one form for each value: no field twice, none under another
// case of its name. A string may hold any bytes, as Go's may: an error quoted
// from a program that does not speak UTF-8 must not make a whole report, or
// worse a log entry, unreadable.
func decoding(elements int, extra cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: maxNesting,
		MaxArrayElements: elements, MaxMapPairs: elements, IndefLength: cbor.IndefLengthForbidden,
		UTF8: cbor.UTF8DecodeInvalid, FieldNameMatching: cbor.FieldNameMatchingCaseSensitive, ExtraReturnErrors: extra,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options are constants: a test of the package finds this
	}
	return v
}

// Encode renders a value in the fleet's encoding: CBOR (RFC 8949), maps keyed
// by field name, deterministic, so that equal values are equal bytes.
func Encode(v any) ([]byte, error) {
	raw, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return raw, nil
}

// Decode reads a message from the wire. Fields that this build does not know
// are passed over: a peer may be one version newer.
func Decode(raw []byte, v any) error { return decode(lenient, raw, v) }

// DecodeStrict reads replicated or stored state. An unknown field is an error,
// because passing over it would lose it for good.
func DecodeStrict(raw []byte, v any) error { return decode(strict, raw, v) }

func decode(mode cbor.DecMode, raw []byte, v any) error {
	if err := mode.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// Equal compares two values of the wire by their encoding. Values that don't
// encode equal nothing.
func Equal(a, b any) bool {
	rawA, errA := Encode(a)
	rawB, errB := Encode(b)
	return errA == nil && errB == nil && bytes.Equal(rawA, rawB)
}

// Clone returns a deep copy of a value of the wire, by way of its encoding.
func Clone[T any](v T) T {
	raw, err := Encode(v)
	if err != nil {
		panic(err) // every noun encodes: a test of the package walks them all
	}
	var out T
	if err := strict.NewDecoder(bytes.NewReader(raw)).Decode(&out); err != nil && err != io.EOF {
		panic(err)
	}
	return out
}
