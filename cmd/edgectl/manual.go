//go:build manual

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/edgeswarm/edgeswarm/internal/build"
)

// main, built with the tag manual, writes the manual pages and the shells'
// completions to the folders man, bash, zsh and fish of the one that it is
// given. They are made from the very commands, and edgectl itself has none of
// the code for it. $SOURCE_DATE_EPOCH dates them.
func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run -tags manual ./cmd/edgectl FOLDER")
		os.Exit(exitUsage)
	}
	if err := writeManual(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "write manual:", err)
		os.Exit(exitFailed)
	}
}

func writeManual(dir string) error {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w; set it to the time of the last commit", err)
	}
	for _, name := range []string{"man", "bash", "zsh", "fish"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	date := time.Unix(epoch, 0).UTC()
	root := newRoot(&cli{})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	untagged(root)
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "edgectl " + build.Version, Manual: "Edgeswarm"}
	if err := doc.GenManTree(root, header, filepath.Join(dir, "man")); err != nil {
		return err
	}
	for file, write := range map[string]func(string) error{
		"bash/edgectl":      func(path string) error { return root.GenBashCompletionFileV2(path, true) },
		"zsh/_edgectl":      root.GenZshCompletionFile,
		"fish/edgectl.fish": func(path string) error { return root.GenFishCompletionFile(path, true) },
	} {
		if err := write(filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
}

// untagged leaves out the line that says who wrote a page, and when.
func untagged(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, child := range cmd.Commands() {
		untagged(child)
	}
}
