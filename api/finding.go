package api

// ExamineRequest asks how fit a board is.
type ExamineRequest struct {
	// Node is a member's ID, the start of one, or its name; "" is the board that
	// is asked.
	Node string
	// MeasureDisk writes some 36 KiB, to see how fast the disk makes them last.
	MeasureDisk bool
}

// Examination is what was found, worst or not, in a fixed order.
type Examination struct {
	NodeID   NodeID
	Hostname string
	Model    string `json:",omitempty"`
	Findings []Finding
}

// Finding is one thing that was looked at.
type Finding struct {
	Check string // "memory limits"
	Level FindingLevel
	What  string // what is so
	Why   string `json:",omitempty"` // why it matters; "" if all is well
	Mend  string `json:",omitempty"` // what to do, to the line to write
}

// FindingLevel says how much a finding matters.
type FindingLevel string

// Levels of findings.
const (
	FindingOK      FindingLevel = "ok"
	FindingWarning FindingLevel = "warning" // the board does its part, less well than it could
	FindingBad     FindingLevel = "bad"     // the board can't do a part of its work
)
