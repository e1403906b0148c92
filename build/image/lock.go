package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// debianKeyring proves who signed the archive's indexes.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// archives are where packages may come from, as a mirror's folders.
var archives = []struct{ folder, suite string }{
	{"debian", release},
	{"debian-security", release + "-security"},
}

// apt is Debian's own tool on a state of its own: what this machine has
// installed, and from where, plays no part. It checks the archive's signature.
type apt struct{ dir, config string }

func newApt(dir, arch, mirror string) (apt, error) {
	a := apt{dir: dir, config: filepath.Join(dir, "apt.conf")}
	for _, sub := range []string{"etc/parts", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return a, err
		}
	}
	var sources strings.Builder
	for _, from := range archives {
		fmt.Fprintf(&sources, "deb [arch=%s signed-by=%s] %s/%s %s main non-free-firmware\n", arch, debianKeyring, mirror, from.folder, from.suite)
	}
	config := fmt.Sprintf(`Dir::Etc %q; Dir::Etc::parts "parts"; Dir::Etc::main ""; Dir::Etc::sourceparts ""; Dir::Etc::preferencesparts "";
Dir::State %q; Dir::State::status %q; Dir::Cache %q;
APT::Architecture %q; APT::Architectures { %q; }; APT::Sandbox::User ""; Acquire::Languages "none";
`, filepath.Join(dir, "etc"), filepath.Join(dir, "state"), filepath.Join(dir, "status"), filepath.Join(dir, "cache"), arch, arch)
	for name, text := range map[string]string{"etc/sources.list": sources.String(), "status": "", "apt.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a apt) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.config, "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

// makeLock asks the archive for the newest packages of the recipe, and apt for
// all that they need.
func makeLock(ctx context.Context, arch, mirror string) ([]locked, error) {
	dir, err := os.MkdirTemp("", "edgeswarm-lock-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	a, err := newApt(dir, arch, mirror)
	if err != nil {
		return nil, err
	}
	if _, err := a.run(ctx, "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"); err != nil {
		return nil, fmt.Errorf("read Debian's index: %w", err)
	}
	out, err := a.run(ctx, "apt-get", append([]string{"install", "-q", "-s", "--no-install-recommends"}, recipes[arch].packages...)...)
	if err != nil {
		return nil, fmt.Errorf("resolve packages: %w", err)
	}
	var wanted []string
	for line := range strings.Lines(string(out)) { // Inst NAME (VERSION SUITE [ARCH])
		f := strings.Fields(line)
		if len(f) >= 3 && f[0] == "Inst" && !slices.Contains(leftOut, f[1]) {
			wanted = append(wanted, f[1]+"="+strings.Trim(f[2], "()"))
		}
	}
	out, err = a.run(ctx, "apt-cache", append([]string{"show", "--no-all-versions"}, wanted...)...)
	if err != nil {
		return nil, fmt.Errorf("look packages up: %w", err)
	}
	return readIndex(string(out), len(wanted))
}

// readIndex reads paragraphs of a Packages file.
func readIndex(text string, want int) ([]locked, error) {
	var all []locked
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		field := map[string]string{}
		for line := range strings.Lines(paragraph) {
			if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
				field[name] = strings.TrimSpace(value)
			}
		}
		size, err := strconv.ParseInt(field["Size"], 10, 64)
		if err != nil || !sha256Hex.MatchString(field["SHA256"]) {
			return nil, fmt.Errorf("the index tells no size and SHA-256 of %q", field["Package"])
		}
		archive := "debian"
		if strings.HasPrefix(field["Filename"], "pool/updates/") { // as Debian's security archive names its folders
			archive = "debian-security"
		}
		all = append(all, locked{
			Name: field["Package"], Version: field["Version"], Arch: field["Architecture"],
			Size: size, SHA256: field["SHA256"], Path: archive + "/" + field["Filename"],
		})
	}
	if len(all) != want {
		return nil, fmt.Errorf("the index describes %d of %d packages", len(all), want)
	}
	return all, nil
}
