package api

import (
	"slices"
	"strings"
	"time"
)

// VolumeDriver is the only one there is: a folder of the board.
const VolumeDriver = "local"

// Volume is a folder of a board, which tasks that name it share and which
// outlives them. Another board's of the same name is another volume: nothing is
// copied between them.
type Volume struct {
	Name     string
	NodeID   NodeID
	NodeName string
	// NodeState is NodeDown if what the board holds can't be reached now.
	NodeState NodeState
	// Services name it in their spec, wherever their tasks run.
	Services []string `json:",omitempty"`
	// Here is what the board itself says; nil if it was not asked or is silent.
	Here *VolumeDetail `json:",omitempty"`
}

// VolumeDetail is what a board says of a volume that it holds.
type VolumeDetail struct {
	Mountpoint string
	CreatedAt  time.Time `json:",omitzero"` // by the board's clock of then; zero where it can't be told
	// Tasks of the board use it now, or are about to.
	Tasks []TaskBrief `json:",omitempty"`
}

type (
	// VolumesRequest asks what volumes the boards hold.
	VolumesRequest struct {
		// Names are the volumes'; with none, all.
		Names []string `json:",omitempty"`
		// Detail asks the boards too; without it the leader's word is enough.
		Detail bool `json:",omitempty"`
		// Local asks only for what this board holds.
		Local bool `json:",omitempty"`
	}
	// VolumesResponse has them by name, then by node.
	VolumesResponse struct{ Volumes []Volume }

	// RemoveVolumeRequest deletes a volume with all that is in it.
	RemoveVolumeRequest struct {
		Volume string
		Node   string // that holds it; "" if only one does
		// Force removes it also while services name it, but never under a task.
		Force bool
		Local bool // on this board, which alone has been asked
	}
)

// MaxVolumes is how much a board reports of the volumes it holds, in bytes of
// their names: what comes behind that in order of name is not known to the fleet.
const MaxVolumes = 8 << 10

// Holds reports whether the board has said that it holds a volume of that name.
func (d NodeDescription) Holds(volume string) bool {
	_, found := slices.BinarySearch(d.Volumes, volume)
	return found
}

// MayUse reports whether a task of the spec may use a volume of that name:
// where templates stand in a source, whatever they may be filled in with.
func (s ContainerSpec) MayUse(volume string) bool {
	return slices.ContainsFunc(s.Mounts, func(m Mount) bool {
		return m.Type == MountVolume && m.Source != "" && templateMay(m.Source, volume)
	})
}

// templateMay reports whether a template may come to be text.
func templateMay(template, text string) bool {
	const anything = "\x00"
	pattern, err := expand(template, func(e expression) string {
		if e.text != "" {
			return e.text
		}
		return anything
	})
	if err != nil {
		return false // it was refused when it was declared
	}
	parts := strings.Split(pattern, anything)
	rest, ok := strings.CutPrefix(text, parts[0])
	if len(parts) == 1 {
		return ok && rest == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return ok && strings.HasSuffix(rest, parts[len(parts)-1])
}
