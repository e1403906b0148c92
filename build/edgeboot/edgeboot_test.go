package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/identity"
	"github.com/edgeswarm/edgeswarm/internal/settings"
)

func TestEdgedIsStartedWithWhatTheCardSays(t *testing.T) {
	key := identity.GenerateFleetKey().Reveal()
	_, flags, wrong := readCard([]byte("fleet-key: " + key + "\nlabel: {a: 'x,y', b: 'say \"z\"'}\nregistry-mirror: {docker.io: 'http://m:5000'}\nbogus: 1\n"))
	if len(wrong) != 1 || !strings.HasPrefix(wrong[0].Error(), "edge.yaml line 4: ") {
		t.Fatalf("wrong: %v", wrong)
	}
	raw, err := edgedSettings(flags, "edge-abcdef", append(wrong, errors.New("two\nlines")))
	if err != nil {
		t.Fatal(err)
	}
	var b settings.Board
	if wrong := settings.FromYAML(b.Flags(), raw); len(wrong) > 0 {
		t.Fatalf("edged can't read it: %v\n%s", wrong, raw)
	}
	if b.FleetKey != key || b.Name != "edge-abcdef" || b.Labels["a"] != "x,y" || b.Labels["b"] != `say "z"` || b.RegistryMirrors["docker.io"] != "http://m:5000" {
		t.Errorf("edged reads %+v", b)
	}
	if !strings.Contains(b.Trouble, "bogus") || !strings.HasSuffix(b.Trouble, "; two lines") || strings.Contains(b.Trouble, "\n") {
		t.Errorf("trouble %q", b.Trouble)
	}
}

func TestACardThatCantBeReadStillMakesABoard(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no YAML": "a: [", "not text": "\x00\xff\xfe", "a wrong token": "join-token: EDGETKN-1-x"} {
		_, flags, wrong := readCard([]byte(text))
		raw, err := edgedSettings(flags, "edge-abcdef", wrong)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var b settings.Board
		if bad := settings.FromYAML(b.Flags(), raw); len(bad) > 0 || b.JoinToken != "" || (text != "") != (b.Trouble != "") {
			t.Errorf("%s: %v; %+v", name, bad, b)
		}
	}
}

func TestWithoutItsDataABoardJoinsNothing(t *testing.T) {
	c, flags, _ := readCard([]byte("fleet-key: " + identity.GenerateFleetKey().Reveal() + "\njoin-addr: [192.0.2.1]\nlabel: {a: b}\n"))
	withoutData(c)
	raw, err := edgedSettings(flags, "attic", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b settings.Board
	if wrong := settings.FromYAML(b.Flags(), raw); len(wrong) > 0 || b.FleetKey != "" || len(b.JoinAddrs) > 0 || b.Labels["a"] != "b" {
		t.Errorf("%v: %s", wrong, raw)
	}
}

func TestNetworks(t *testing.T) {
	for name, tt := range map[string]struct {
		card string
		want []string // in the file of the interface that the card speaks of
		not  string
	}{
		"nothing":  {"", []string{"Name=eth0", "DHCP=yes"}, "Address="},
		"fixed":    {"address: 192.0.2.10/24\ngateway: 192.0.2.1\ndns: [192.0.2.53]", []string{"Name=eth0", "Address=192.0.2.10/24", "[Route]\nGateway=192.0.2.1", "DNS=192.0.2.53"}, "DHCP=yes"},
		"wifi":     {"wifi: home\naddress: 192.0.2.10/24", []string{"Name=wlan0", "Address=192.0.2.10/24"}, "eth0"},
		"by name":  {"interface: usb0\naddress: 192.0.2.10/24", []string{"Name=usb0"}, "eth0"},
		"dns only": {"dns: 192.0.2.53", []string{"DHCP=yes", "DNS=192.0.2.53"}, "Address="},
	} {
		c, _, wrong := readCard([]byte(tt.card))
		units := networkUnits(c)
		unit := units["10-edge.network"]
		for _, want := range tt.want {
			if !strings.Contains(unit, want) {
				t.Errorf("%s: lacks %q:\n%s", name, want, unit)
			}
		}
		if len(wrong) > 0 || strings.Contains(unit, tt.not) || !strings.Contains(units["20-edge.network"], "DHCP=yes") {
			t.Errorf("%s: %v\n%s", name, wrong, unit)
		}
	}
}

func TestWiFiNamesCantBreakOut(t *testing.T) {
	c, _, wrong := readCard([]byte("wifi: \"a\\\"} network={\"\nwifi-password: 'pass\"word }'\nwifi-country: DE\n"))
	text := wpaConfig(c)
	if len(wrong) > 0 || strings.Contains(text, "} network") || strings.Count(text, "\n}") != 1 || !strings.Contains(text, "country=DE\n") {
		t.Errorf("%v\n%s", wrong, text)
	}
	open, _, _ := readCard([]byte("wifi: cafe\n"))
	if text := wpaConfig(open); !strings.Contains(text, "key_mgmt=NONE") {
		t.Error(text)
	}
	if wpaConfig(&settings.Card{}) != "" {
		t.Error("WiFi without a network")
	}
}

func TestNameServersOfTheNetwork(t *testing.T) {
	if got := resolvConf("OPER_STATE=routable\nDNS=192.0.2.53 2001:db8::53\nNTP=192.0.2.1\n"); got != "nameserver 192.0.2.53\nnameserver 2001:db8::53\n" {
		t.Errorf("%q", got)
	}
}

func TestABoardIsNamedAfterItsSerialNumber(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{"sys/class/net/eth0/address": "dc:a6:32:01:02:03\n", "sys/class/net/lo/address": "00:00:00:00:00:00\n"} {
		put(t, filepath.Join(root, path), text)
	}
	if got := serial(root); got != "010203" {
		t.Errorf("by its network card: %s", got)
	}
	put(t, filepath.Join(root, "proc/device-tree/serial-number"), "10000000a1b2c3d4\x00")
	if got := serial(root); got != "b2c3d4" {
		t.Errorf("by its number: %s", got)
	}
	if a, b := serial(t.TempDir()), serial(t.TempDir()); a == b || len(a) != 6 {
		t.Errorf("with neither: %s, %s", a, b)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dataPartition is a file in the place of a partition, with a file system on it.
func dataPartition(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	put(t, path, "")
	if err := os.Truncate(path, 16<<20); err != nil {
		t.Fatal(err)
	}
	if err := makeFileSystem(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func uuid(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("dumpe2fs", "-h", path).Output()
	if err != nil {
		return "none"
	}
	_, rest, _ := strings.Cut(string(out), "Filesystem UUID:")
	first, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	return first
}

// damage breaks a file system in a way that can't be mended without a loss: the
// root folder's inode is overwritten.
func damage(t *testing.T, path string) {
	t.Helper()
	for _, command := range []string{"clri <2>", "set_super_value state 2"} { // 2: the kernel met errors
		if out, err := exec.Command("debugfs", "-w", "-R", command, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestADataPartitionOfAFormerLifeIsKept(t *testing.T) {
	path := dataPartition(t)
	before := uuid(t, path)
	if err := makeFileSystem(path); err != nil || uuid(t, path) != before {
		t.Errorf("made anew: %v", err)
	}
	if label, err := labelOf(path); label != dataLabel || err != nil {
		t.Errorf("label %q, %v", label, err)
	}
}

func TestADamagedDataPartitionIsLeftAloneUnlessTheCardSaysElse(t *testing.T) {
	path := dataPartition(t)
	if err := sound(path, false, settings.DamageWait); err != nil {
		t.Fatalf("a sound one: %v", err)
	}
	damage(t, path)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid(t, path)
	err = sound(path, false, settings.DamageWait)
	if err == nil || !strings.Contains(err.Error(), "on-damage: repair") || strings.Contains(err.Error(), "\n") {
		t.Errorf("told: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after[4096:]) != string(before[4096:]) {
		t.Error("what can't be mended was changed") // but for the superblock's counters
	}
	if err := sound(path, false, settings.DamageRepair); err != nil || uuid(t, path) != id {
		t.Errorf("repair: %v, and made anew: %v", err, uuid(t, path) != id)
	}
	if err := sound(path, false, settings.DamageWait); err != nil {
		t.Errorf("after its repair: %v", err)
	}
	damage(t, path)
	if err := sound(path, false, settings.DamageErase); err != nil || uuid(t, path) == id {
		t.Errorf("erase: %v, and made anew: %v", err, uuid(t, path) != id)
	}
}
