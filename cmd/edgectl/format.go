package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/cmd/edgectl/internal/output"
)

// listFlags are what every list takes.
type listFlags struct {
	format  string
	quiet   bool
	noTrunc bool
}

func (l *listFlags) register(fs *pflag.FlagSet) {
	registerFormat(fs, &l.format, "") // -f is --filter
	fs.BoolVarP(&l.quiet, "quiet", "q", false, "print only IDs")
	fs.BoolVar(&l.noTrunc, "no-trunc", false, "print IDs and messages whole")
}

// registerFormat adds --format, with a short name where Docker's has one.
func registerFormat(fs *pflag.FlagSet, format *string, short string) {
	fs.StringVarP(format, "format", short, "", "json (one object a line), table, or a Go template such as '{{.Name}}' or 'table {{.ID}}\\t{{.Name}}'")
}

// id shortens an ID unless the whole was asked for.
func (l *listFlags) id(id string) string {
	if l.noTrunc {
		return id
	}
	return api.ShortID(id)
}

// message shortens a message as Docker does, in the table only.
func (l *listFlags) message(s string) string {
	if l.noTrunc || l.format != "" && l.format != output.Table {
		return output.Safe(s)
	}
	return output.Ellipsis(output.Safe(s), 60)
}

// printRows prints a list, or its IDs alone.
func printRows[R any](c *cli, l *listFlags, table string, header R, rows []R) error {
	if l.quiet && l.format == "" {
		table, l.format = "", "{{.ID}}"
	}
	return output.Rows(c.out, l.format, table, header, rows)
}

// imageName shortens a reference as people write it: with the tag and without
// the pin where there is a tag, and without what Docker's names leave out.
func imageName(ref string) string {
	name, digest, pinned := strings.Cut(ref, "@")
	if pinned && !strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		algorithm, hex, _ := strings.Cut(digest, ":")
		name += "@" + algorithm + ":" + api.ShortID(hex)
	}
	name = strings.TrimPrefix(name, "docker.io/")
	return strings.TrimPrefix(name, "library/")
}
