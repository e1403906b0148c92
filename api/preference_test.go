package api

import "testing"

func TestPreferences(t *testing.T) {
	n := &Node{ID: "n1", Spec: NodeSpec{Annotations: Annotations{Labels: map[string]string{"zone": "attic"}}}, Description: NodeDescription{Hostname: "board1"}}
	for text, want := range map[string]string{"spread=node.labels.zone": "attic", " spread = node.hostname": "board1", "spread=node.labels.none": "", "spread=node.id": "n1"} {
		p, err := ParsePreference(text)
		if err != nil || p.Spread.Value(n) != want {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "spread", "binpack=node.labels.zone", "spread=", "spread=node.colour", "spread=node.labels."} {
		if _, err := ParsePreference(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	zone, host := PlacementPreference{&SpreadOver{"node.labels.zone"}}, PlacementPreference{&SpreadOver{"node.hostname"}}
	s, err := validSpec().Merge(ServicePatch{PreferenceAdd: []PlacementPreference{zone, host, zone}})
	if err != nil || len(s.TaskTemplate.Placement.Preferences) != 2 || s.Validate() != nil {
		t.Errorf("merged to %+v: %v", s.TaskTemplate.Placement, err)
	}
	s, err = s.Merge(ServicePatch{PreferenceRemove: []PlacementPreference{zone}})
	if p := s.TaskTemplate.Placement.Preferences; err != nil || len(p) != 1 || p[0].String() != "spread=node.hostname" {
		t.Errorf("merged to %+v: %v", p, err)
	}
	s.TaskTemplate.Placement.Preferences = []PlacementPreference{zone, zone}
	refused(t, "TaskTemplate.Placement.Preferences", s.Validate())
	s.TaskTemplate.Placement.Preferences = []PlacementPreference{{}}
	refused(t, "TaskTemplate.Placement.Preferences", s.Validate())
}
