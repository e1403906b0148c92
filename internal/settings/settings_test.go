package settings

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edgeswarm/edgeswarm/identity"
)

func TestACardSaysAllThatABoardNeeds(t *testing.T) {
	key := identity.GenerateFleetKey().Reveal()
	var c Card
	wrong := FromYAML(c.Flags(), []byte(`
fleet-key: `+key+`
name: attic
label: {room: attic, floor: 2}
address: 192.0.2.10/24
gateway: 192.0.2.1
dns: [192.0.2.53, 2001:db8::53]
wifi: Our place, upstairs
wifi-password: correct horse, battery
wifi-country: DE
ssh-key:
- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGfakefakefakefakefakefakefakefakefakefakefak ann, the operator
- ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCfakefakefakefakefakefakefakefake
registry-mirror: {docker.io: "http://192.0.2.1:5000"}
console-shell: true
on-damage: repair
`))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if c.Board.FleetKey != key || c.Board.Name != "attic" || !maps.Equal(c.Board.Labels, map[string]string{"room": "attic", "floor": "2"}) {
		t.Errorf("the board: %+v", c.Board)
	}
	if c.WiFi != "Our place, upstairs" || c.WiFiPassword != "correct horse, battery" || len(c.DNS) != 2 || c.Address != "192.0.2.10/24" || !c.Shell || c.OnDamage != DamageRepair {
		t.Errorf("the card: %+v", c)
	}
	if len(c.SSHKeys) != 2 || !strings.HasSuffix(c.SSHKeys[0], "ann, the operator") {
		t.Errorf("the keys: %q", c.SSHKeys)
	}
	if c.Board.RegistryMirrors["docker.io"] != "http://192.0.2.1:5000" {
		t.Errorf("mirrors: %v", c.Board.RegistryMirrors)
	}
}

func TestOneWrongLineCostsNoOther(t *testing.T) {
	var c Card
	wrong := FromYAML(c.Flags(), []byte("name: attic\nwifi-pasword: x\naddress: here\nname: shed\ngateway: [a]\ndns: 192.0.2.53\nstate-dir: /x\n"))
	var got []string
	for _, w := range wrong {
		got = append(got, w.Error()[:6])
	}
	if !slices.Equal(got, []string{"line 2", "line 3", "line 4", "line 5", "line 7"}) {
		t.Errorf("found wrong: %v", wrong)
	}
	if c.Board.Name != "attic" || !slices.Equal(c.DNS, []string{"192.0.2.53"}) || c.Address != "" || c.Gateway != "" {
		t.Errorf("of the others: %+v", c)
	}
}

func TestValuesThatNoBoardCanUse(t *testing.T) {
	for key, bad := range map[string][]string{
		"fleet-key":             {"secret", "EDGEKEY-1-AAAA", "EDGETKN-1-x"},
		"join-token":            {"secret"},
		"name":                  {"a b", strings.Repeat("x", 300)},
		"listen":                {"2377"},
		"task-subnets":          {"10.0.0.0/30", "fd00::/8"},
		"mesh-port":             {"0"},
		"registry-mirror":       {"{docker.io: 192.0.2.1}", "docker.io"},
		"address":               {"192.0.2.10", "dhcp", "300.0.0.1/8"},
		"gateway":               {"router"},
		"dns":                   {"[192.0.2.1, nine]"},
		"interface":             {"'eth0 wlan0'", "../x"},
		"wifi":                  {strings.Repeat("x", 33)},
		"wifi-password":         {"short", "pässwörter", `"a\nb\nc\nd\ne"`},
		"wifi-country":          {"Germany", "de"},
		"time-server":           {`"a b"`},
		"ssh-key":               {"ann", "'-----BEGIN OPENSSH PRIVATE KEY-----'", "[ssh-ed25519 short]"},
		"console-shell":         {"sometimes"},
		"on-damage":             {"panic"},
		"log-level":             {"loud"},
		"node-generic-resource": {"gpu", "gpu=", "=1", "'g p=1'", "ssd=0", "ssd=-1", "[gpu=A, gpu=A]", "[gpu=A, gpu=2]", "[gpu=1, gpu=2]", "[gpu=A, GPU=B]", "{gpu: A}", `["gpu=a,b"]`},
		"reserve-memory":        {"lots"},
	} {
		for _, value := range bad {
			var c Card
			wrong := FromYAML(c.Flags(), []byte("\n"+key+": "+value+"\n"))
			if len(wrong) != 1 || !strings.HasPrefix(wrong[0].Error(), "line 2: "+key) || strings.Contains(wrong[0].Error(), "\n") {
				t.Errorf("%s: %s: %v", key, value, wrong)
			}
		}
	}
}

func TestWhatIsNoYAMLIsToldWithItsLine(t *testing.T) {
	for _, text := range []string{"name: [a", "name: a\n\tlabel: b", "just words", "- a", "name: a\n wifi: b"} {
		var c Card
		if wrong := FromYAML(c.Flags(), []byte(text)); len(wrong) == 0 || !strings.Contains(wrong[0].Error(), "line ") {
			t.Errorf("%q: %v", text, wrong)
		}
	}
}

// What flash writes, a board reads: whatever characters are in it.
func TestSettingsGoThroughYAMLAndBack(t *testing.T) {
	var c Card
	flags := c.Flags()
	for _, s := range [][2]string{
		{"name", "attic"}, {"label", `a=x`}, {"label", `"b=y,z"`}, {"wifi", "it's: #1"}, {"wifi-password", `p"a,s's:#1 word`},
		{"ssh-key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGfakefakefakefakefakefakefakefakefakefakefak a, b"},
		{"join-addr", "192.0.2.1,192.0.2.2"}, {"registry-mirror", "docker.io=https://m"}, {"console-shell", "true"}, {"reserve-memory", "1048576"},
	} {
		if err := flags.Set(s[0], s[1]); err != nil {
			t.Fatal(s, err)
		}
	}
	raw, err := YAML(flags)
	if err != nil {
		t.Fatal(err)
	}
	var back Card
	if wrong := FromYAML(back.Flags(), raw); len(wrong) > 0 {
		t.Fatalf("%s\n%v", raw, wrong)
	}
	if back.WiFi != c.WiFi || back.WiFiPassword != c.WiFiPassword || !maps.Equal(back.Board.Labels, c.Board.Labels) || !slices.Equal(back.SSHKeys, c.SSHKeys) ||
		!slices.Equal(back.Board.JoinAddrs, c.Board.JoinAddrs) || !maps.Equal(back.Board.RegistryMirrors, c.Board.RegistryMirrors) || back.Shell != c.Shell || back.Board.ReserveMemory != c.Board.ReserveMemory {
		t.Errorf("%s\ncame back as %+v", raw, back)
	}
}

func TestALabelKeepsItsQuotes(t *testing.T) {
	for _, want := range []map[string]string{{"room": `the "attic"`}, {"room": `"attic"`}, {"room": "a=b, c"}, {"room": ""}, {"a": `"x"`, "b": `y"`}} {
		raw, err := yaml.Marshal(map[string]any{"label": want})
		if err != nil {
			t.Fatal(err)
		}
		var c Card
		if wrong := FromYAML(c.Flags(), raw); len(wrong) > 0 || !maps.Equal(c.Board.Labels, want) {
			t.Errorf("%s is read as %v, %v", raw, c.Board.Labels, wrong)
		}
	}
}

func FuzzFromYAML(f *testing.F) {
	f.Add([]byte("name: a\nlabel: {a: b}\nssh-key: [x]\n"))
	f.Add([]byte("*a"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c Card
		for _, w := range FromYAML(c.Flags(), raw) {
			if w.Error() == "" {
				t.Error("a wrong that says nothing")
			}
		}
	})
}
