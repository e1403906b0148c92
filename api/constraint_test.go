package api

import "testing"

func TestConstraintMatch(t *testing.T) {
	node := &Node{
		ID:   "4x1kq0",
		Spec: NodeSpec{Annotations: Annotations{Name: "attic-pi", Labels: map[string]string{"zone": "Attic", "gpu": ""}}, Role: RoleWorker},
		Description: NodeDescription{
			Hostname: "board7", Platform: Platform{Architecture: "aarch64", OS: "linux"},
		},
	}
	for expr, want := range map[string]bool{
		"node.id==4x1kq0":           true,
		"node.id!=4x1kq0":           false,
		"node.hostname == board7":   true,
		"node.hostname==attic-pi":   true,
		"node.hostname!=attic-pi":   false,
		"node.hostname!=other":      true,
		"node.role==worker":         true,
		"node.role!=manager":        true,
		"node.platform.os==linux":   true,
		"node.platform.arch==arm64": true,
		"node.platform.arch==amd64": false,
		// The kernel's word for it means the same.
		"node.platform.arch==aarch64": true,
		"node.labels.zone==attic":     true,
		"node.labels.zone!=attic":     false,
		"node.labels.rack==1":         false,
		"node.labels.rack!=1":         true,
		"node.labels.gpu!=yes":        true,
	} {
		c, err := ParseConstraint(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if c.Match(node) != want {
			t.Errorf("%s: match %v, want %v", expr, !want, want)
		}
	}
}

func TestConstraintRole(t *testing.T) {
	manager := Constraint{Key: "node.role", Value: "manager"}
	for _, c := range []struct {
		node Node
		want bool
	}{
		{Node{Spec: NodeSpec{Role: RoleManager}}, true},
		{Node{Spec: NodeSpec{Role: RoleWorker}}, false},
		{Node{Spec: NodeSpec{Role: RoleAuto}}, false},
		{Node{Spec: NodeSpec{Role: RoleAuto}, ManagerStatus: &ManagerStatus{Voter: true}}, true},
		{Node{Spec: NodeSpec{Role: RoleAuto}, ManagerStatus: &ManagerStatus{}}, false},
		// Told to leave, it counts as a worker though it still votes.
		{Node{Spec: NodeSpec{Role: RoleWorker}, ManagerStatus: &ManagerStatus{Voter: true}}, false},
	} {
		if got := manager.Match(&c.node); got != c.want {
			t.Errorf("%+v is a manager: %v, want %v", c.node.Spec.Role, got, c.want)
		}
	}
}

func TestParseConstraintRefuses(t *testing.T) {
	for _, s := range []string{
		"", "==", "node.id", "node.id=x", "node.id==", "node.id!=  ", "node.nose==long", "engine.labels.x==y",
		"node.labels.==x", "node.labels==x", "node.labels.a b==x", "node.id===x", "node.role==a==b", "zone==attic",
	} {
		if c, err := ParseConstraint(s); err == nil {
			t.Errorf("%q was read as %+v", s, c)
		}
	}
	all, err := ParseConstraints([]string{"node.os==linux"})
	if err == nil || all.Match(&Node{}) {
		t.Error("a constraint that can't be read must match no node")
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{"node.id==x", "node.labels.a!=b", "a", "!=", "node.role == manager"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConstraint(s)
		if err != nil {
			return
		}
		again, err := ParseConstraint(c.String())
		if err != nil || again != c {
			t.Fatalf("%q reads as %+v, its text %q as %+v, %v", s, c, c.String(), again, err)
		}
	})
}
