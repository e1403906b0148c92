package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Formats that are words and not templates.
const (
	Table = "table"
	JSON  = "json"
)

// functions are what a template may call, as in Docker.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		raw, err := Object(v)
		return string(raw), err
	},
	"join":  strings.Join,
	"split": strings.Split,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(s string, before, after int) string {
		return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
	},
	"truncate": func(s string, n int) string {
		if r := []rune(s); n >= 0 && len(r) > n {
			return string(r[:n])
		}
		return s
	},
	"println": fmt.Sprintln,
}

// Rows prints rows as a table by the template table, or as format asks:
// "json" is one object a line, "table {{.A}}\t{{.B}}" a table of other columns,
// any other text a template for each row. R is a struct whose fields are the
// columns; header is a row of their headings.
func Rows[R any](w io.Writer, format, table string, header R, rows []R) error {
	switch {
	case format == "" || format == Table:
		return rowsTable(w, table, header, rows)
	case format == JSON:
		for _, r := range rows {
			raw, err := marshal(r)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n", raw); err != nil {
				return err
			}
		}
		return nil
	case strings.HasPrefix(format, Table+" "):
		return rowsTable(w, strings.TrimPrefix(format, Table+" "), header, rows)
	}
	t, err := Template(format)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := execute(w, t, r); err != nil {
			return err
		}
	}
	return nil
}

func rowsTable[R any](w io.Writer, format string, header R, rows []R) error {
	t, err := Template(format)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	for _, r := range append([]R{header}, rows...) {
		if err := execute(tw, t, r); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// Template reads a --format template; \t and \n may be written as such.
func Template(format string) (*template.Template, error) {
	format = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format)
	t, err := template.New("format").Funcs(functions).Parse(format)
	if err != nil {
		return nil, fmt.Errorf("--format %q is not a Go template: %w; write fields as in '{{.Name}}', or json", format, trimTemplate(err))
	}
	return t, nil
}

// execute renders one line, whole or not at all.
func execute(w io.Writer, t *template.Template, v any) error {
	var line bytes.Buffer
	if err := t.Execute(&line, v); err != nil {
		text := fmt.Sprintf("--format can't be filled in: %v", trimTemplate(err))
		if names := fieldNames(v); names != "" {
			text += "; there are " + names
		}
		return errors.New(text)
	}
	line.WriteByte('\n')
	_, err := w.Write(line.Bytes())
	return err
}

var templatePrefix = regexp.MustCompile(`^template: format:[0-9:]* *(executing "format" at )?`)

func trimTemplate(err error) error {
	return errors.New(templatePrefix.ReplaceAllString(err.Error(), ""))
}

// fieldNames lists what a template may ask of a value.
func fieldNames(v any) string {
	t := reflect.TypeOf(v)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return ""
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && !f.Anonymous {
			names = append(names, "."+f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// marshal is JSON as people read it: without HTML's escapes.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}
