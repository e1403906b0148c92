package api

import (
	"bytes"
	"testing"
)

func TestIDs(t *testing.T) {
	seen := map[NodeID]bool{}
	for range 1000 {
		id := NewID[NodeID]()
		if !IsID(string(id)) || seen[id] {
			t.Fatalf("bad or repeated ID %q", id)
		}
		seen[id] = true
	}
	var top [16]byte
	copy(top[:], bytes.Repeat([]byte{0xff}, 16))
	for _, raw := range [][16]byte{{}, {15: 1}, top} {
		if id := IDFromBytes[TaskID](raw); !IsID(string(id)) {
			t.Errorf("%x gives %q", raw, id)
		}
	}
	if a, b := IDFromBytes[TaskID]([16]byte{0: 1}), IDFromBytes[TaskID]([16]byte{15: 1}); a == b || b != "0000000000000000000000001" {
		t.Errorf("%q, %q", a, b)
	}
	for _, bad := range []string{"", "abc", "0000000000000000000000000A", "000000000000000000000000A", "000000000000000000000000é", "00000000000000000000000000"} {
		if IsID(bad) {
			t.Errorf("%q passes for an ID", bad)
		}
	}
	if got := ShortID(NodeID("0123456789abcdefghij")); got != "0123456789ab" {
		t.Errorf("ShortID = %q", got)
	}
	if got := ShortID(NodeID("n1")); got != "n1" {
		t.Errorf("ShortID = %q", got)
	}
}
