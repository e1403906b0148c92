package settings

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
	"github.com/edgeswarm/edgeswarm/identity"
)

// judges tell what is wrong with a value, by the setting's name. A list or a
// mapping is judged as the one line that it is set by.
var judges = map[string]func(string) error{
	"name":                  judgeName,
	"fleet-key":             func(v string) error { _, err := identity.ParseFleetKey(v); return err },
	"join-token":            func(v string) error { _, err := identity.ParseToken(v); return err },
	"listen":                judgeListen,
	"node-generic-resource": judgeGeneric,
	"task-subnets":          judgeSubnets,
	"mesh-port":             judgePort,
	"registry-mirror":       judgeMirrors,
	"address":               judgeAddress,
	"gateway":               judgeIP,
	"dns":                   judgeIPs,
	"interface":             judgeInterface,
	"wifi":                  judgeWiFi,
	"wifi-password":         judgePassword,
	"wifi-country":          judgeCountry,
	"time-server":           judgeHosts,
	"ssh-key":               judgeSSHKey,
	"on-damage":             judgeDamage,
}

// Judge tells the first wrong value among those that were given by flag.
func Judge(flags *pflag.FlagSet) error {
	var wrong error
	flags.VisitAll(func(f *pflag.Flag) { // not Visit: they may have been set through another set that shares them
		if !f.Changed {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
			if line, err := record(values); err == nil && f.Value.Type() == listFlag {
				values = []string{line}
			}
		} else if f.Value.Type() == mapFlag {
			values = []string{strings.Trim(values[0], "[]")}
		}
		for _, value := range values {
			if err := judge(f.Name, value); err != nil && wrong == nil {
				wrong = fmt.Errorf("--%s: %w", f.Name, err)
			}
		}
	})
	return wrong
}

func judge(name, value string) error {
	if j, ok := judges[name]; ok && value != "" {
		return j(value)
	}
	return nil
}

func judgeName(v string) error {
	return (api.NodeSpec{Annotations: api.Annotations{Name: v}}).Validate()
}

func judgeListen(v string) error {
	if _, port, err := net.SplitHostPort(v); err != nil || port == "" {
		return fmt.Errorf("%q: want [address]:port, such as :%d", v, api.DefaultPort)
	}
	return nil
}

func judgePort(v string) error {
	if v == "0" {
		return errors.New("0 is no port: give one of 1 to 65535")
	}
	return nil
}

func judgeSubnets(v string) error {
	if pool, err := netip.ParsePrefix(v); err != nil || !pool.Addr().Is4() || pool.Bits() > 20 {
		return fmt.Errorf("%q: want an IPv4 prefix of /20 or larger, such as 10.210.0.0/16", v)
	}
	return nil
}

func judgeMirrors(v string) error {
	for pair := range strings.SplitSeq(v, ",") {
		registry, mirror, ok := strings.Cut(strings.Trim(pair, `"`), "=")
		u, err := url.Parse(mirror)
		if !ok || registry == "" || err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%q: want a registry and its mirror's URL, such as docker.io=http://192.0.2.1:5000", pair)
		}
	}
	return nil
}

func judgeGeneric(v string) error {
	_, err := api.ParseGenericResources(strings.Split(v, ","))
	return err
}

func judgeAddress(v string) error {
	if _, err := netip.ParsePrefix(v); err != nil {
		return fmt.Errorf("%q: want an address and the length of its network's prefix, such as 192.0.2.10/24", v)
	}
	return nil
}

func judgeIP(v string) error {
	if _, err := netip.ParseAddr(v); err != nil {
		return fmt.Errorf("%q: want an IP address, such as 192.0.2.1", v)
	}
	return nil
}

func judgeIPs(v string) error { return each(v, judgeIP) }

func judgeHosts(v string) error {
	return each(v, func(host string) error {
		if !hostName.MatchString(host) {
			return fmt.Errorf("%q: want a host's name or address", host)
		}
		return nil
	})
}

func each(v string, judge func(string) error) error {
	for item := range strings.SplitSeq(v, ",") {
		if err := judge(item); err != nil {
			return err
		}
	}
	return nil
}

var (
	hostName      = regexp.MustCompile(`^[0-9A-Za-z:.-]+$`)
	interfaceName = regexp.MustCompile(`^[0-9a-z]{1,15}$`)
	countryCode   = regexp.MustCompile(`^[A-Z]{2}$`)
	sshKey        = regexp.MustCompile(`^(ssh|ecdsa|sk-ssh|sk-ecdsa)-[0-9A-Za-z@.-]+ [0-9A-Za-z+/=]{40,}( [^\x00-\x1f]*)?$`)
)

func judgeInterface(v string) error {
	if !interfaceName.MatchString(v) {
		return fmt.Errorf("%q: want an interface's name, such as eth0", v)
	}
	return nil
}

func judgeWiFi(v string) error {
	if len(v) > 32 || strings.ContainsAny(v, "\n\x00") {
		return errors.New("a WiFi network's name has at most 32 characters, in one line")
	}
	return nil
}

func judgePassword(v string) error {
	if len(v) < 8 || len(v) > 63 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("a WiFi password has 8 to 63 characters, all of ASCII")
	}
	return nil
}

func judgeCountry(v string) error {
	if !countryCode.MatchString(v) {
		return fmt.Errorf("%q: want two letters, such as DE", v)
	}
	return nil
}

func judgeSSHKey(v string) error {
	if strings.Contains(v, "PRIVATE KEY") {
		return errors.New("this is a private key: put the public one here, the line of the file that ends in .pub")
	}
	if !sshKey.MatchString(strings.TrimSpace(v)) {
		return errors.New("want the line of a public key's file, such as: ssh-ed25519 AAAA… name")
	}
	return nil
}

func judgeDamage(v string) error {
	if !slices.Contains([]string{DamageWait, DamageRepair, DamageErase}, v) {
		return fmt.Errorf("%q: want wait, repair or erase", v)
	}
	return nil
}
