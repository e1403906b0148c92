package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edgeswarm/edgeswarm/api"
)

var update = flag.Bool("update", false, "rewrite testdata")

// instant is what differs from run to run.
var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// golden compares a command's output with testdata/name.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = instant.ReplaceAllString(got, "TIME")
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; rewrite with -update if it should\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestWhatIsPrinted(t *testing.T) {
	for _, c := range []struct{ name, args string }{
		{"status", "status"},
		{"info", "info"},
		{"doctor", "doctor board4"},
		{"doctor-json", "doctor self --format json"},
		{"node-ls", "node ls"},
		{"node-ls-json", "node ls --format json"},
		{"node-ls-filter", "node ls --filter role=worker --filter name=board"},
		{"node-ls-quiet", "node ls -q --filter label=zone"},
		{"node-ps", "node ps"},
		{"node-inspect", "node inspect self"},
		{"node-inspect-pretty", "node inspect --pretty board1"},
		{"service-ls", "service ls"},
		{"service-ls-json", "service ls --format json"},
		{"service-ls-template", `service ls --format table\ {{.Name}}\t{{.Replicas}} --filter label=tier=front`},
		{"service-ps", "service ps web"},
		{"service-ps-no-trunc", "service ps --no-trunc web --filter desired-state=running"},
		{"service-ps-json", "service ps web --format {{.Name}}|{{.Node}}|{{.DesiredState}}|{{.CurrentState}}|{{.History}}"},
		{"service-inspect", "service inspect web"},
		{"service-inspect-pretty", "service inspect --pretty web cam"},
		{"task-ls", "task ls"},
		{"task-ls-all", "task ls --all --filter node=board3 --format {{.Name}}|{{.Node}}"},
		{"task-inspect", "task inspect web.1"},
		{"image-ls", "image ls"},
		{"image-pull", "image pull web:1"},
		{"volume-ls", "volume ls"},
		{"volume-ls-quiet", "volume ls -q --filter dangling=true"},
		{"volume-ls-json", "volume ls --filter node=board3 --format json"},
		{"volume-inspect", "volume inspect data"},
		{"init", "init --name shed"},
		{"join-token", "join-token worker"},
		{"join-token-quiet", "join-token -q manager"},
		{"node-promote", "node promote board1 self"},
		{"node-update", "node update --availability drain --label-add a=b board2"},
		{"service-rm", "service rm web cam"},
		{"leave", "leave --force"},
		{"join", "join --token EDGETKN-1-XYZ board1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newFleet().edgectl(t, split(c.args)...)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			golden(t, c.name, r.out)
		})
	}
}

// split is strings.Fields with "\ " for a space.
func split(line string) []string {
	args := strings.Fields(strings.ReplaceAll(line, `\ `, "\x00"))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "\x00", " ")
	}
	return args
}

func TestStatusOutsideOfAFleet(t *testing.T) {
	for name, state := range map[string]api.MembershipState{"none": api.MembershipNone, "seeking": api.MembershipSeeking, "removed": api.MembershipRemoved} {
		f := newFleet()
		f.board = &api.BoardStatus{Hostname: "board9", Version: "v0.1.0", Membership: state, Candidates: 2, Rivals: []api.FleetID{"fleet2"}}
		if state == api.MembershipSeeking {
			f.board.Message = "waiting for others with the same key"
		}
		for _, command := range []string{"status", "info"} {
			r := f.edgectl(t, command)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.err)
			}
			golden(t, command+"-"+name, r.out)
		}
		r := f.edgectl(t, "status", "--format", "json")
		var s fleetStatus
		if err := json.Unmarshal([]byte(r.out), &s); err != nil || s.Membership != state || s.Survives != -1 || s.Candidates != 2 {
			t.Errorf("%s: %v in %s", name, err, r.out)
		}
	}
}

// A board with a slip in its edge.yaml is in no fleet that could tell of it.
func TestStatusTellsTheTroubleOfBoardsOfNoFleet(t *testing.T) {
	f := newFleet()
	f.board.Description.Trouble = "edge.yaml line 7: gateway: want an IP address"
	f.board.Troubled = []api.TroubledBoard{
		{NodeID: "e5", Hostname: "attic", Addr: "10.0.0.9:2377", Trouble: `edge.yaml line 2: unknown key "nmae"`},
		{NodeID: "f6", Hostname: "evil\x1b[2J", Trouble: "line 1\nLeader: me"},
	}
	r := f.edgectl(t, "status")
	for _, want := range []string{
		"Trouble:   edge.yaml line 7: gateway", `board attic (10.0.0.9:2377), in no fleet, says: edge.yaml line 2: unknown key "nmae"`, "(none), in no fleet, says: ",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("lacks %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "\x1b") || strings.Contains(r.out, "\nLeader: me") {
		t.Errorf("what a stranger says reaches the terminal: %q", r.out)
	}
}

func TestStatusWithoutALeader(t *testing.T) {
	f := newFleet()
	f.fail = func(string) error { return api.Errorf(api.Unavailable, "", "no leader is known") }
	r := f.edgectl(t, "status")
	if r.code != 0 || !strings.Contains(r.out, "no leader answers") || !strings.Contains(r.out, "Leader:    none") || !strings.Contains(r.out, "3 voters") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestWhatAFleetSurvives(t *testing.T) {
	for _, c := range []struct {
		voters, reachable, want int
		say                     string
	}{
		{1, 1, 0, "1 voter, 1 reachable: survives the loss of none; three boards"},
		{2, 2, 0, "survives the loss of none; three boards"},
		{3, 3, 1, "3 voters, 3 reachable: survives the loss of 1"},
		{3, 2, 0, "survives the loss of none until another is back"},
		{3, 1, -1, "no majority, nothing can be changed until 1 more"},
		{5, 5, 2, "survives the loss of 2"},
		{5, 4, 1, "survives the loss of 1"},
		{0, 0, -1, "0 voters"},
	} {
		if got := survives(c.voters, c.reachable); got != c.want || !strings.Contains(survival(c.voters, c.reachable), c.say) {
			t.Errorf("%d of %d: %d, %q", c.reachable, c.voters, got, survival(c.voters, c.reachable))
		}
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	for _, args := range []string{"info --format json", "info", "info --format {{json\\ .}}"} {
		if r := newFleet().edgectl(t, split(args)...); r.code != 0 || strings.Contains(r.out, "EDGEKEY") {
			t.Errorf("%s printed a secret: %s%s", args, r.out, r.err)
		}
	}
	if r := newFleet().edgectl(t, "node", "inspect", "board1"); strings.Contains(r.out, "PublicKey") {
		t.Errorf("node inspect printed %s", r.out)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, "edgectl "+strings.TrimPrefix(cmd.CommandPath(), "edgectl ")) {
			t.Errorf("%s has no example of itself", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(newRoot(&cli{}))
}

func TestHelpIsBrief(t *testing.T) {
	for args, want := range map[string]string{
		"service scale --help": "Usage:\n  edgectl service scale [OPTIONS] SERVICE=REPLICAS...\n",
		"service --help":       "Usage:\n  edgectl service COMMAND\n\n",
		"completion --help":    "Usage:\n  edgectl completion COMMAND\n\n",
		"--help":               "Usage:\n  edgectl COMMAND\n\n",
		"service":              "Usage:\n  edgectl service COMMAND\n\n",
	} {
		r := newFleet().edgectl(t, strings.Fields(args)...)
		if r.code != 0 || !strings.Contains(r.out, want) || strings.Contains(r.out, "=true") {
			t.Errorf("%s: exit %d, %s%s", args, r.code, r.out, r.err)
		}
	}
}

func TestFormatIsShortWhereItIsInDocker(t *testing.T) {
	for args, want := range map[string]string{
		"service inspect -f {{.Spec.Name}} web":          "web\n",
		"node inspect -f {{.Description.Hostname}} self": "board2\n",
		"info -f {{.Hostname}}":                          "board2\n",
		"status -f {{.Nodes}}":                           "4\n",
		"version -f {{.Node.Hostname}}":                  "board2\n",
		"service ls -f name=web --format {{.Name}}":      "web\n",
	} {
		if r := newFleet().edgectl(t, strings.Fields(args)...); r.out != want {
			t.Errorf("%s: %q, %s", args, r.out, r.err)
		}
	}
}

func TestCompletionAsksTheFleet(t *testing.T) {
	for args, want := range map[string]string{
		"service ps ": "cam\nweb\n", "node inspect ": "board1\nboard2\nboard3\nboard4\n", "task exec ": "web.1\n",
		"service create --generic-resource ": "gpu=\nssd=\n", "service update --generic-resource-rm ": "gpu\nssd\n",
		"join-token ":                         "worker\nmanager\n",
		"service create --restart-condition ": "none\non-failure\nany\n", "service update --update-order ": "stop-first\nstart-first\n",
		"service update --rollback-failure-action ": "pause\ncontinue\n", "service create --mode ": "replicated\nglobal\nreplicated-job\nglobal-job\n",
		"node update --availability ": "active\npause\ndrain\n", "node update --role ": "auto\nmanager\nworker\n",
		"node ls --format ": "json\ntable\n", "service inspect --format ": "json\n", "service ls --filter ": "id=\nname=\nlabel=\nmode=\n",
	} {
		r := newFleet().edgectl(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if got, _, _ := strings.Cut(r.out, ":"); got != want {
			t.Errorf("%s: %q, want %q (%s)", args, got, want, r.err)
		}
	}
	offered := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			values, more := valuesOf(cmd, flag)
			if _, ok := cmd.GetFlagCompletionFunc(flag.Name); len(values) > 0 && !ok {
				t.Errorf("%s --%s: values are not offered", cmd.CommandPath(), flag.Name)
			}
			for _, value := range values {
				if more {
					value += "x"
				}
				// A fresh flag for each: some take a value only once.
				fresh, _, err := newRoot(&cli{}).Find(strings.Fields(cmd.CommandPath())[1:])
				if err == nil {
					err = fresh.Flags().Set(flag.Name, value)
				}
				if err != nil {
					t.Errorf("%s --%s: %q is offered and refused: %v", cmd.CommandPath(), flag.Name, value, err)
				}
				offered++
			}
		})
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	if walk(newRoot(&cli{})); offered < 50 {
		t.Errorf("only %d values are offered", offered)
	}
	if r := newFleet().edgectl(t, "completion", "bash"); r.code != 0 || len(r.out) < 1000 {
		t.Errorf("no completion script: %s", r.err)
	}
}
