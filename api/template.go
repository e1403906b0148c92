package api

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Facts are what the templates of a task's spec may ask for. They are known at
// the node only, so that is where templates are expanded.
type Facts struct {
	ServiceID     ServiceID
	ServiceName   string
	ServiceLabels map[string]string
	NodeID        NodeID
	NodeHostname  string
	NodePlatform  Platform
	TaskID        TaskID
	TaskName      string
	TaskSlot      int
}

// Facts of a task on a node.
func (t *Task) Facts(node NodeID, d NodeDescription) Facts {
	return Facts{
		ServiceID: t.ServiceID, ServiceName: t.ServiceName, ServiceLabels: t.ServiceLabels,
		NodeID: node, NodeHostname: d.Hostname, NodePlatform: d.Platform,
		TaskID: t.ID, TaskName: t.name(node), TaskSlot: t.Slot,
	}
}

// name is Docker's: the service, the slot or for a global service the node, and
// the task.
func (t *Task) name(node NodeID) string {
	place := string(node)
	if t.Slot > 0 {
		place = strconv.Itoa(t.Slot)
	}
	return t.ServiceName + "." + place + "." + string(t.ID)
}

// labelField is what stands before a label's name.
const labelField = ".Service.Labels."

// templateFields are the fields but for labels, as in Docker.
var templateFields = []string{
	".Service.ID", ".Service.Name", ".Node.ID", ".Node.Hostname", ".Node.Platform.Architecture", ".Node.Platform.OS",
	".Task.ID", ".Task.Name", ".Task.Slot",
}

func (f Facts) field(name string) string {
	switch name {
	case ".Service.ID":
		return string(f.ServiceID)
	case ".Service.Name":
		return f.ServiceName
	case ".Node.ID":
		return string(f.NodeID)
	case ".Node.Hostname":
		return f.NodeHostname
	case ".Node.Platform.Architecture":
		return f.NodePlatform.Architecture
	case ".Node.Platform.OS":
		return f.NodePlatform.OS
	case ".Task.ID":
		return string(f.TaskID)
	case ".Task.Name":
		return f.TaskName
	case ".Task.Slot":
		return strconv.Itoa(f.TaskSlot)
	default:
		return ""
	}
}

// expression is what stands between {{ and }}: a field, a label, or text.
type expression struct{ field, label, text string }

// ExpandTemplate fills the templates in s in. A template is one of Docker's
// fields ({{.Task.Slot}}), a label of the service ({{.Service.Labels.zone}} or
// {{index .Service.Labels "a.zone"}}, empty where it has none), or text in
// quotes, which is how two braces are written: {{"{{"}}. Nothing else of Go's
// templates is known. The error of one that is not names it.
func ExpandTemplate(s string, f Facts) (string, error) {
	return expand(s, func(e expression) string {
		switch {
		case e.field != "":
			return f.field(e.field)
		case e.label != "":
			return f.ServiceLabels[e.label]
		default:
			return e.text
		}
	})
}

// CheckTemplate reports what is wrong with the templates in s.
func CheckTemplate(s string) error {
	_, err := expand(s, func(expression) string { return "" })
	return err
}

func expand(s string, value func(expression) string) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		inner, after, err := closeTemplate(rest)
		if err != nil {
			return "", err
		}
		e, err := parseExpression(strings.Trim(inner, " \t"))
		if err != nil {
			return "", err
		}
		out.WriteString(value(e))
		s = after
	}
}

// closeTemplate splits at the first }} that is not in quotes.
func closeTemplate(s string) (inner, after string, err error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"' || s[i] == '`':
			quoted, err := strconv.QuotedPrefix(s[i:])
			if err != nil {
				return "", "", fmt.Errorf("template {{%s: its quotes are not closed", s)
			}
			i += len(quoted) - 1
		case strings.HasPrefix(s[i:], "}}"):
			return s[:i], s[i+2:], nil
		}
	}
	return "", "", fmt.Errorf(`template {{%s has no end }}; two braces that begin none are written {{"{{"}}`, s)
}

func parseExpression(s string) (expression, error) {
	if text, err := strconv.Unquote(s); err == nil && s[0] != '\'' {
		return expression{text: text}, nil
	}
	if label, ok := strings.CutPrefix(s, labelField); ok && isLabelPath(label) {
		return expression{label: label}, nil
	}
	if rest, ok := strings.CutPrefix(s, "index "); ok {
		of, quoted, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
		label, err := strconv.Unquote(strings.TrimLeft(quoted, " \t"))
		if of+"." == labelField && err == nil && label != "" {
			return expression{label: label}, nil
		}
	}
	if !slices.Contains(templateFields, s) {
		return expression{}, fmt.Errorf("{{%s}} is not known: there are %s, %sNAME", s, strings.Join(templateFields, ", "), labelField)
	}
	return expression{field: s}, nil
}

// isLabelPath accepts what needs no quotes.
func isLabelPath(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	})
}

// templates calls edit with each text of the spec that may hold templates.
func (s *ContainerSpec) templates(edit func(field string, text *string) error) error {
	err := edit("Hostname", &s.Hostname)
	for i := range s.Env {
		err = errors.Join(err, edit("Env", &s.Env[i]))
	}
	for i := range s.Mounts {
		err = errors.Join(err, edit("Mounts", &s.Mounts[i].Source), edit("Mounts", &s.Mounts[i].Target))
	}
	return err
}

// Expand returns the spec with its templates filled in. Where nothing is to be
// filled in it is s itself; else it shares nothing that differs.
func (s ContainerSpec) Expand(f Facts) (ContainerSpec, error) {
	if !s.templated() {
		return s, nil
	}
	s.Env, s.Mounts = slices.Clone(s.Env), slices.Clone(s.Mounts)
	err := s.templates(func(field string, text *string) (err error) {
		*text, err = ExpandTemplate(*text, f)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err == nil && s.Hostname != "" {
		err = checkHostname(s.Hostname) // what a fact holds is known only now
	}
	return s, err
}

func (s ContainerSpec) templated() bool {
	found := false
	_ = s.templates(func(_ string, text *string) error {
		found = found || strings.Contains(*text, "{{")
		return nil
	})
	return found
}

// TemplateLabels picks those labels of the service that templates of its tasks
// ask for: they travel with each task.
func (s ServiceSpec) TemplateLabels() map[string]string {
	var picked map[string]string
	_ = s.TaskTemplate.ContainerSpec.templates(func(_ string, text *string) error {
		_, err := expand(*text, func(e expression) string {
			if value, ok := s.Labels[e.label]; ok && e.label != "" {
				if picked == nil {
					picked = map[string]string{}
				}
				picked[e.label] = value
			}
			return ""
		})
		return err
	})
	return picked
}

// sample returns a spec that is checked in place of one with templates: each
// stands for a short word.
func (c *check) sample(at string, s ContainerSpec) ContainerSpec {
	if !s.templated() {
		return s
	}
	s.Env, s.Mounts = slices.Clone(s.Env), slices.Clone(s.Mounts)
	_ = s.templates(func(field string, text *string) error { // c keeps the first
		filled, err := expand(*text, func(e expression) string {
			if e.text != "" {
				return e.text
			}
			return "x" + strconv.Itoa(slices.Index(templateFields, e.field)+1)
		})
		c.is(at+field, err)
		*text = filled
		return nil
	})
	return s
}
