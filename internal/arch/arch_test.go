package arch

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/edgeswarm/edgeswarm/"

type pkg struct {
	ImportPath                         string
	Doc                                string
	Imports                            []string
	TestGoFiles, XTestGoFiles, GoFiles []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// inRoom reports whether a package is room or lies inside it.
func inRoom(importPath, room string) bool {
	rel := strings.TrimPrefix(importPath, module)
	return rel == room || strings.HasPrefix(rel, room+"/")
}

// room is the first folder of one of our import paths, "" for another's.
func room(importPath string) string {
	rel, ours := strings.CutPrefix(importPath, module)
	if !ours {
		return ""
	}
	return strings.SplitN(rel, "/", 2)[0]
}

// mayImport lists, for the rooms that are held to a list, which other rooms
// (or packages of a room) they may import.
var mayImport = map[string][]string{
	"api":       {},
	"identity":  {"api"},
	"transport": {"api"},
	"discovery": {"api"},
	"consensus": {},
	"store":     {"api"},
	"runtime":   {"api"},
	"client":    {"api"},
	"network":   {"api", "agent"},
	"logs":      {"api"},
	"image":     {"api", "transport"},
	"agent":     {"api", "runtime"},
	"admission": {"api", "identity", "transport", "discovery"},
	"manager":   {"api", "store", "consensus", "identity", "transport", "network/ipam"},
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		allowed, held := mayImport[room(p.ImportPath)]
		if !held {
			continue
		}
		for _, imp := range p.Imports {
			if r := room(imp); r != "" && r != room(p.ImportPath) && !contains(allowed, r) && !contains(allowed, strings.TrimPrefix(imp, module)) && !inRoom(imp, "internal/host") && !inRoom(imp, "internal/build") {
				t.Errorf("%s imports %s: room %q may import only %q (see ARCHITECTURE.md, rooms)", p.ImportPath, imp, room(p.ImportPath), allowed)
			}
		}
	}
}

// drivers are concrete implementations: only node composes them.
var drivers = []string{"transport/quic", "transport/mem", "runtime/containerd", "runtime/sim", "discovery/mdns", "discovery/static", "discovery/mem"}

func TestOnlyNodeNamesDrivers(t *testing.T) {
	for _, p := range packages(t) {
		if inRoom(p.ImportPath, "node") || inRoom(p.ImportPath, "internal") {
			continue
		}
		for _, imp := range p.Imports {
			for _, d := range drivers {
				if inRoom(imp, d) && !inRoom(p.ImportPath, room(d+"/")) && room(p.ImportPath) != room(module+d) {
					t.Errorf("%s imports driver %s: only node may", p.ImportPath, imp)
				}
			}
		}
	}
}

func TestPlannersArePure(t *testing.T) {
	banned := []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "os", "net", "sync", "context", "log/slog"}
	for _, p := range packages(t) {
		if !inRoom(p.ImportPath, "manager/orchestrator") && !inRoom(p.ImportPath, "manager/scheduler") && !inRoom(p.ImportPath, "network/ipam") {
			continue
		}
		for _, imp := range p.Imports {
			if contains(banned, imp) && imp != "time" { // time.Duration is a value, not a clock: see TestNoClock
				t.Errorf("%s imports %s: planners have no clock, randomness or I/O", p.ImportPath, imp)
			}
		}
	}
}

func TestOnlyHostImportsGoRuntime(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if imp == "runtime" && !inRoom(p.ImportPath, "internal/host") {
				t.Errorf("%s imports the standard library's runtime: ask internal/host", p.ImportPath)
			}
		}
	}
}

func TestEveryPackageHasADocComment(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(strings.Fields(p.Doc)) < 5 {
			t.Errorf("%s has no doc comment that says what it is for", p.ImportPath)
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
