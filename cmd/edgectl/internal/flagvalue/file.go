package flagvalue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/edgeswarm/edgeswarm/api"
)

// Secret reads "NAME" or "source=NAME[,target=…][,uid=…][,gid=…][,mode=…]".
func Secret(s string) (api.SecretReference, error) {
	name, file, err := dataFile(s, "secret")
	return api.SecretReference{SecretName: name, File: file}, err
}

// Config reads the same notation as Secret.
func Config(s string) (api.ConfigReference, error) {
	name, file, err := dataFile(s, "config")
	return api.ConfigReference{ConfigName: name, File: file}, err
}

func dataFile(s, noun string) (name string, file api.FileTarget, err error) {
	if !strings.ContainsAny(s, "=,") {
		if s == "" {
			return "", file, fmt.Errorf("it names no %s: give the name of one that edgectl %s ls shows", noun, noun)
		}
		return s, file, nil
	}
	pairs, err := fields(s)
	if err != nil {
		return "", file, err
	}
	for _, p := range pairs {
		switch p.Key {
		case "source", "src":
			name = p.Value
		case "target":
			file.Name = p.Value
		case "uid":
			file.UID, err = number(p.Value, 10)
		case "gid":
			file.GID, err = number(p.Value, 10)
		case "mode":
			var mode uint32
			mode, err = number(p.Value, 8)
			if err == nil && mode > 0o777 {
				err = errors.New("it is not a file's mode: write octal digits up to 0777")
			}
			file.Mode = &mode
		default:
			err = fmt.Errorf("it is not known here: use source, target, uid, gid and mode")
		}
		if err != nil {
			return "", file, fmt.Errorf("%s=%s: %w", p.Key, p.Value, err)
		}
	}
	if name == "" {
		return "", file, fmt.Errorf("it names no %s: give source=NAME", noun)
	}
	return name, file, nil
}

func number(s string, base int) (uint32, error) {
	n, err := strconv.ParseUint(s, base, 32)
	if err != nil {
		return 0, fmt.Errorf("it is not a number in base %d", base)
	}
	return uint32(n), nil
}
