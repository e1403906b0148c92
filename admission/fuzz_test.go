package admission

import (
	"bytes"
	"testing"
	"time"

	"github.com/edgeswarm/edgeswarm/api"
)

func encoded(f *testing.F, v any) []byte {
	raw, err := api.Encode(v)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// FuzzFrame reads what a stream may carry, as every message that it may be.
func FuzzFrame(f *testing.F) {
	for _, v := range []any{
		hello{Version: 1, By: ByKey, Node: node(1), Tag: "t"},
		offer{Version: 1, Refusal: &refusal{api.Denied, "no"}},
		offer{Version: 1, Status: &Status{Node: node(1), Member: true, Fleet: fleet(1), FoundedAt: time.Unix(1, 0), Knows: []Known{{Node: node(2)}}}},
		request{Admit: &api.AdmitRequest{Node: node(1), CSR: []byte{1}}}, request{Renew: []byte{1}},
		answer{Admit: &api.AdmitResponse{}}, answer{Renew: &api.Credentials{}}, claim{},
	} {
		var b bytes.Buffer
		if err := writeFrame(&b, frame{Body: encoded(f, v), Proof: []byte("proof")}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readFrame(bytes.NewReader(raw), maxUnproven)
		if err != nil {
			return
		}
		var h hello
		var o offer
		var r request
		var a answer
		_ = api.Decode(got.Body, &h)
		_ = api.Decode(got.Body, &r)
		if api.Decode(got.Body, &a) == nil && a.Refusal != nil {
			_ = a.Refusal.err("x").Error()
		}
		if api.Decode(got.Body, &o) != nil {
			return
		}
		if o.Refusal != nil && bytes.ContainsAny([]byte(refused(o).Error()), "\n\x1b\r") {
			t.Error("a refusal commands the terminal")
		}
		if o.Status != nil && o.Status.valid() {
			m := newFounding(node(9), "tag", false, "", 0, epoch)
			m.called(epoch, Status{Node: o.Status.Node}, addr(1))
			m.greeted(epoch, string(o.Status.Node), true, *o.Status, nil)
			_, _ = m.step(epoch.Add(time.Minute))
			_ = judge(*o.Status, *o.Status)
		}
	})
}

// FuzzMemory reads a file that may have been written by anything.
func FuzzMemory(f *testing.F) {
	f.Add(encoded(f, Remembered{Version: 1, Veteran: true, Fleet: fleet(1), Managers: []api.ManagerAddr{{ID: node(1)}}}))
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decodeMemory(raw); err == nil {
			if _, err := api.Encode(r); err != nil {
				t.Errorf("what was read can't be written: %v", err)
			}
		}
	})
}
