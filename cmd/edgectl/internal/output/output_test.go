package output

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

type row struct {
	ID, Name string
	Self     bool
}

var (
	heads = row{ID: "ID", Name: "NAME"}
	some  = []row{{"1", "web", false}, {"22222222222222", "<api> & more", true}}
)

func TestRows(t *testing.T) {
	for format, want := range map[string]string{
		"":                          "ID                 NAME\n1                  web\n22222222222222 *   <api> & more\n",
		"table":                     "ID                 NAME\n1                  web\n22222222222222 *   <api> & more\n",
		`table {{.Name}}\t{{.ID}}`:  "NAME           ID\nweb            1\n<api> & more   22222222222222\n",
		"json":                      `{"ID":"1","Name":"web","Self":false}` + "\n" + `{"ID":"22222222222222","Name":"<api> & more","Self":true}` + "\n",
		"{{.Name}}={{upper .Name}}": "web=WEB\n<api> & more=<API> & MORE\n",
		"{{json .Name}}":            "\"web\"\n\"<api> & more\"\n",
		"{{truncate .ID 2}}":        "1\n22\n",
	} {
		var out bytes.Buffer
		if err := Rows(&out, format, "{{.ID}}{{if .Self}} *{{end}}\t{{.Name}}", heads, some); err != nil || out.String() != want {
			t.Errorf("%s: %v\ngot:\n%swant:\n%s", format, err, &out, want)
		}
	}
}

func TestAnEmptyTableHasItsHeadings(t *testing.T) {
	var out bytes.Buffer
	if err := Rows(&out, "", "{{.ID}}\t{{.Name}}", heads, nil); err != nil || out.String() != "ID        NAME\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestBadTemplatesAreOneClearLine(t *testing.T) {
	for format, say := range map[string]string{"{{.Nam}}": ".ID, .Name, .Self", "{{": "not a Go template", "{{foo .ID}}": "not a Go template"} {
		var out bytes.Buffer
		err := Rows(&out, format, "", heads, some)
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") || out.Len() > 0 {
			t.Errorf("%s: %v, printed %q", format, err, &out)
		}
	}
}

type inner struct {
	KeyPEM []byte
	Kept   string
}

type object struct {
	Z     string
	A     int64
	Since time.Time
	None  *int
	Inner inner
	List  []inner
	Key   string `json:"FleetKey"`
}

func TestObjectsKeepTheirOrderAndLoseSecrets(t *testing.T) {
	o := object{Z: "<z>", A: 1 << 60, Inner: inner{[]byte("secret"), "k"}, List: []inner{{}, {Kept: "x"}}, Key: "secret"}
	got, err := Object(o)
	want := `{"Z":"<z>","A":1152921504606846976,"Inner":{"Kept":"k"},"List":[{"Kept":""},{"Kept":"x"}]}`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	var out bytes.Buffer
	if err := Objects(&out, "", []object{}); err != nil || out.String() != "[]\n" {
		t.Errorf("%v, %q", err, &out)
	}
	out.Reset()
	if err := Objects(&out, "", []inner{{Kept: "a"}}); err != nil || out.String() != "[\n    {\n        \"Kept\": \"a\"\n    }\n]\n" {
		t.Errorf("%v, %q", err, &out)
	}
	out.Reset()
	if err := Objects(&out, "json", []inner{{Kept: "a"}, {Kept: "b"}}); err != nil || out.String() != "{\"Kept\":\"a\"}\n{\"Kept\":\"b\"}\n" {
		t.Errorf("%v, %q", err, &out)
	}
	out.Reset()
	if err := Objects(&out, "{{.Kept}}", []inner{{Kept: "a"}}); err != nil || out.String() != "a\n" {
		t.Errorf("%v, %q", err, &out)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds", 61 * time.Second: "About a minute",
		2 * time.Minute: "2 minutes", 61 * time.Minute: "About an hour", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days",
		14 * 24 * time.Hour: "2 weeks", 60 * 24 * time.Hour: "2 months", 3 * 365 * 24 * time.Hour: "3 years",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := Ago(now, now.Add(-time.Minute)); got != "about a minute ago" {
		t.Error(got)
	}
	if got := Ago(now, now.Add(time.Hour)); got != "less than a second ago" {
		t.Error(got)
	}
	if got := Ago(now, time.Time{}); got != "" {
		t.Error(got)
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 64 << 20: "64 MiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	if got := Ellipsis("héllo wörld", 6); got != "héllo…" {
		t.Error(got)
	}
	if got := Safe("a\x1b[31mb\nc"); got != "a [31mb c" {
		t.Errorf("%q", got)
	}
}
