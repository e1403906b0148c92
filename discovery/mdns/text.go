package mdns

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/discovery"
)

// textVersion is the layout of the TXT record. A reader passes over keys that
// it does not know, so the version only changes when an old reader would
// misunderstand.
const textVersion = 1

// Limits of the TXT record. A string of it holds 255 bytes by RFC 1035, key
// and all; the others bound what a hostile one costs.
const (
	maxString  = 255
	maxStrings = 32
	maxTag     = 64
)

// Keys of the TXT record, short because they are on the air all the time.
const (
	keyVersion = "v"
	keyName    = "n"
	keyTag     = "k"
	keyFleet   = "f"
	keyManager = "m"
	keyVeteran = "o"
	keyTrouble = "e"
)

// encodeText renders what an announcement's TXT record says, in the
// presentation form of DNS (RFC 1035, 5.1). What is for people is cut to fit;
// what is for programs is an error if it does not.
func encodeText(a discovery.Announcement) ([]string, error) {
	switch {
	case !api.IsID(string(a.Node)):
		return nil, fmt.Errorf("node %q is not an ID", a.Node)
	case a.Port == 0:
		return nil, errors.New("no port to be reached at")
	case a.Fleet != "" && !api.IsID(string(a.Fleet)):
		return nil, fmt.Errorf("fleet %q is not an ID", a.Fleet)
	case !validTag(a.KeyTag):
		return nil, fmt.Errorf("key tag %q is not one", a.KeyTag)
	}
	out := []string{keyVersion + "=" + strconv.Itoa(textVersion)}
	add := func(key, value string) {
		if value != "" {
			out = append(out, quote(key+"="+clip(value, maxString-len(key)-1)))
		}
	}
	add(keyName, a.Name)
	add(keyTag, a.KeyTag)
	add(keyFleet, string(a.Fleet))
	add(keyManager, flag(a.Manager))
	add(keyVeteran, flag(a.Veteran))
	add(keyTrouble, a.Trouble)
	return out, nil
}

// decodeText reads a TXT record as the DNS library hands it over. Node and
// port come from elsewhere in the packet.
func decodeText(text []string) (discovery.Announcement, error) {
	var a discovery.Announcement
	if len(text) > maxStrings {
		return a, fmt.Errorf("%d strings: more than %d", len(text), maxStrings)
	}
	seen := make(map[string]string, len(text))
	for _, s := range text {
		key, value, _ := strings.Cut(unquote(s), "=")
		if len(key)+1+len(value) > maxString {
			return a, fmt.Errorf("a string of more than %d bytes", maxString)
		}
		if _, twice := seen[key]; !twice { // the first counts: RFC 6763, 6.4
			seen[key] = value
		}
	}
	version, err := strconv.Atoi(seen[keyVersion])
	if err != nil || version < textVersion {
		return a, fmt.Errorf("version %q is not known", seen[keyVersion])
	}
	a = discovery.Announcement{
		Name: clip(seen[keyName], maxString), KeyTag: seen[keyTag], Fleet: api.FleetID(seen[keyFleet]),
		Manager: seen[keyManager] != "", Veteran: seen[keyVeteran] != "", Trouble: clip(seen[keyTrouble], maxString),
	}
	if a.Fleet != "" && !api.IsID(string(a.Fleet)) {
		return a, errors.New("the fleet is not an ID")
	}
	if !validTag(a.KeyTag) {
		return a, errors.New("the key tag is not one")
	}
	return a, nil
}

func flag(set bool) string {
	if set {
		return "1"
	}
	return ""
}

func validTag(tag string) bool {
	for _, c := range []byte(tag) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(tag) <= maxTag
}

// clip makes text fit for a terminal: valid UTF-8 of printable characters, at
// most limit bytes, cut between characters.
func clip(s string, limit int) string {
	var out strings.Builder
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if out.Len()+utf8.RuneLen(r) > limit {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}

// quote protects what the presentation form gives a meaning to. The library
// escapes other bytes only when it reads.
func quote(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// unquote undoes the presentation form: \DDD is a byte, \c is c.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		if i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		i++
		out = append(out, s[i])
	}
	return string(out)
}
