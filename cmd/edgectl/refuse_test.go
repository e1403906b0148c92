package main

import (
	"strings"
	"testing"

	"github.com/edgeswarm/edgeswarm/api"
)

// TestBadInputIsRefusedBeforeAnythingIsSent: one line that says what, why and
// what to do, an exit code, and no request.
func TestBadInputIsRefusedBeforeAnythingIsSent(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		say  []string
	}{
		"service create --replicas -1 x":                                                         {1, []string{"--replicas -1", "below 0", "give"}},
		"service create --replicas many x":                                                       {1, []string{"--replicas many", "whole number"}},
		"service create --name we_b x":                                                           {1, []string{"--name we_b", "DNS label"}},
		"service create --name web. x":                                                           {1, []string{"DNS label"}},
		"service create --mode swarm x":                                                          {1, []string{"replicated-job or global-job"}},
		"service create --mode global --replicas 2 x":                                            {1, []string{"--replicas", "one task on every node"}},
		"service create -p 8080:0 x":                                                             {1, []string{"1 to 65535"}},
		"service create -p fe80::1:8080:80 x":                                                    {1, []string{"IPv4 address or subnet"}},
		"service create --mount type=bind,src=a,dst=/b x":                                        {1, []string{"--mount", "absolute path"}},
		"service create --update-max-failure-ratio 1.5 x":                                        {1, []string{"between 0 and 1"}},
		"service create --update-delay 10 x":                                                     {1, []string{"--update-delay 10", "10s"}},
		"service create --update-delay -1s x":                                                    {1, []string{"below 0"}},
		"service create --restart-condition always x":                                            {1, []string{"none, on-failure or any"}},
		"service create --rollback-failure-action rollback x":                                    {1, []string{"pause or continue"}},
		"service create --constraint zone=attic x":                                               {1, []string{"node.labels.zone==attic"}},
		"service create --network name=,alias=db x":                                              {1, []string{"--network name=,alias=db", "edgectl network ls"}},
		"service create --network name=back,mtu=9000 x":                                          {1, []string{"mtu=9000", "use name and alias"}},
		"service create --endpoint-mode magic x":                                                 {1, []string{"magic", "vip", "dnsrr"}},
		"network create -d overlay back":                                                         {1, []string{"overlay", "mesh", "vxlan"}},
		"network create -d vxlan --opt encrypted back":                                           {1, []string{"vxlan", "in plain"}},
		"network create -o com.docker.network.driver.mtu=1400 back":                              {1, []string{"com.docker.network.driver.mtu", "encrypted"}},
		"network rotate-keys back":                                                               {125, []string{"takes no argument"}},
		"network create -d vxlan --subnet 10.9.0.0 back":                                         {1, []string{"10.9.0.0", "10.9.0.0/16"}},
		"network create -d vxlan --subnet 10.9.0.1/16 back":                                      {1, []string{"10.9.0.0/16 is one"}},
		"network create -d vxlan --subnet 10.9.0.0/30 back":                                      {1, []string{"/26"}},
		"network create -d vxlan ingress":                                                        {1, []string{"--ingress"}},
		"network create -d vxlan --ingress --internal ways":                                      {1, []string{"no tasks to keep in"}},
		"service create --network host -p mode=host,target=80 x":                                 {1, []string{"leave one of the two out"}},
		"service create -p mode=host,target=80,published=9 -p mode=host,target=81,published=9 x": {1, []string{"9/tcp", "twice"}},
		"service create --limit-memory 1k x":                                                     {1, []string{"4m"}},
		"service create --limit-cpu -1 x":                                                        {1, []string{"below 0"}},
		"service create --entrypoint 'a x":                                                       {1, []string{"--entrypoint", "quote"}},
		"service create --env-file /nowhere x":                                                   {1, []string{"/nowhere", "no such file"}},
		"service create -e =1 x":                                                                 {1, []string{"NAME=value"}},
		"service create --parallelism 1 --update-parallelism 2 x":                                {1, []string{"already given as 1"}},
		"service create":                  {125, []string{"needs 1 argument", "IMAGE"}},
		"service create --no-such-flag x": {125, []string{"--no-such-flag", "--help"}},
		"service update --parallelism 2 --update-parallelism 3 web":             {1, []string{"already given as 2", "give one value"}},
		"service update --update-delay 1s --delay 2s web":                       {1, []string{"already given as 1s"}},
		"service update --replicas -3 web":                                      {1, []string{"below 0"}},
		"service update --rollback --image x web":                               {1, []string{"--rollback", "--image"}},
		"service update --env-add A=1 --env-rm A web":                           {1, []string{"A", "both added and removed"}},
		"service update --generic-resource-add a=1 --generic-resource-rm a web": {1, []string{"generic resource a", "both added and removed"}},
		"service create --generic-resource gpu=U1 x":                            {1, []string{"--generic-resource gpu=U1", "not an amount"}},
		"service create --generic-resource gpu x":                               {1, []string{"NAME=value", "gpu=2"}},
		"service update --image= web":                                           {1, []string{"--image", "no name"}},
		"service update --constraint-rm zone web":                               {1, []string{"--constraint-rm", "=="}},
		"service update web api":                                                {125, []string{"one too many"}},
		"service rebalance":                                                     {125, []string{"needs a service, or --all"}},
		"service rebalance --all web":                                           {125, []string{"needs a service, or --all"}},
		"service rebalance web api":                                             {125, []string{"one too many"}},
		"service scale web":                                                     {125, []string{"web=3"}},
		"service scale web=-1":                                                  {1, []string{"web=-1", "below 0"}},
		"service scale web=2 api=x":                                             {1, []string{"api=x"}},
		"service frobnicate":                                                    {125, []string{`"frobnicate" is not a command`}},
		"servce ls":                                                             {125, []string{"did you mean service"}},
		"flash --image x":                                                       {125, []string{"--device", "--help"}},
		"flash --image /nowhere --device y":                                     {1, []string{"open image", "/nowhere"}},
		"flash --image x --device y --name a/b":                                 {1, []string{"--name", "a/b"}},
		"flash --image x --device y --address dhcp":                             {1, []string{"--address", "192.0.2.10/24"}},
		"flash --image x --device y --fleet-key guess":                          {1, []string{"--fleet-key", "edgectl fleet-key"}},
		"flash --image x --device y --wifi-password short":                      {1, []string{"8 to 63"}},
		"flash --image x --device y --config /nowhere":                          {1, []string{"--config", "no such file"}},
		"flash --image x --device y --size 1x":                                  {1, []string{"--size"}},
		"flash --image x --device y --label a":                                  {1, []string{"--label", "key=value"}},
		"service ls extra":                                                      {125, []string{"takes no argument"}},
		"service ls --filter colour=red":                                        {1, []string{"id, name, label, mode"}},
		"service ls --format {{.Nope}}":                                         {1, []string{".Replicas"}},
		"service ls --format {{":                                                {1, []string{"not a Go template"}},
		"service create --mount src=a,dst=/b,volume-driver=nfs x":               {1, []string{"volume-driver=nfs", "local", "type=bind"}},
		"volume rm":                                 {125, []string{"needs 1 argument"}},
		"volume ls --filter colour=red":             {1, []string{"name, node, driver, dangling"}},
		"events -f type=node":                       {125, []string{"--filter type=node", "-f is --follow"}},
		"events --filter type=container":            {1, []string{"type=container", "task"}},
		"events --since yesterday":                  {1, []string{"--since yesterday", "4711"}},
		"events --format {{.Nope}}":                 {1, []string{".Action"}},
		"service logs --tail -2 web":                {1, []string{"below 0"}},
		"service logs --since yesterday web":        {1, []string{"--since yesterday", "10m"}},
		"node update --availability gone board1":    {1, []string{"active, pause or drain"}},
		"node update --role boss board1":            {1, []string{"auto, manager or worker"}},
		"node promote":                              {125, []string{"NODE"}},
		"join-token boss":                           {1, []string{"worker or manager"}},
		"join-token --ttl 1h worker":                {1, []string{"--rotate"}},
		"update":                                    {125, []string{"something to change"}},
		"update extra":                              {125, []string{"takes no argument"}},
		"init --fleet-key-file /nowhere":            {1, []string{"/nowhere", "no such file"}},
		"image load /nowhere.tar":                   {1, []string{"/nowhere.tar", "no such file"}},
		"image load /tmp":                           {1, []string{"folder"}},
		"image load a.tar -i b.tar":                 {1, []string{"twice"}},
		"task exec web.1":                           {125, []string{"COMMAND"}},
		"task exec -it web.1 sh":                    {125, []string{"terminal"}},
		"--host tcp://10.0.0.1:2377 node ls":        {1, []string{"ssh://user@board"}},
		"--host unix:///nowhere/edged.sock node ls": {1, []string{"/nowhere/edged.sock", "does not exist", "start edged"}},
	} {
		f := newFleet()
		r := f.edgectl(t, strings.Fields(args)...)
		if r.code != want.code || strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "edgectl: ") {
			t.Errorf("%s: exit %d, want %d with one line: %q", args, r.code, want.code, r.err)
		}
		for _, say := range want.say {
			if !strings.Contains(r.err, say) {
				t.Errorf("%s: %q does not say %q", args, r.err, say)
			}
		}
		if len(f.asked) > 0 {
			t.Errorf("%s: was sent: %+v", args, f.asked)
		}
	}
}

func TestWhatTheFleetRefusesIsOneLineAndExitOne(t *testing.T) {
	for args, say := range map[string]string{
		"service inspect nope":      "no service is called nope",
		"service ps nope":           "no service is called nope",
		"service rm nope":           "no service is called nope",
		"service update --force no": "no service is called no",
		"service logs nope":         "no service or task is called nope",
		"node inspect nope":         "no node is called nope",
		"node rm nope":              "no node is called nope",
	} {
		r := newFleet().edgectl(t, strings.Fields(args)...)
		if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, say) {
			t.Errorf("%s: exit %d, %q", args, r.code, r.err)
		}
	}
}

func TestOneThatFailsDoesNotStopTheOthers(t *testing.T) {
	f := newFleet()
	r := f.edgectl(t, "service", "rm", "nope", "web")
	if r.code != 1 || r.out != "web\n" || len(requests[*api.RemoveServiceRequest](f)) != 1 {
		t.Errorf("exit %d, printed %q, %q", r.code, r.out, r.err)
	}
}

func TestOneThatCannotBeScaledDoesNotStopTheOthers(t *testing.T) {
	f := newFleet()
	r := f.edgectl(t, "service", "scale", "-d", "nope=2", "web=3")
	if r.code != 1 || r.out != "web scaled to 3\n" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "nope") {
		t.Errorf("exit %d, printed %q, %q", r.code, r.out, r.err)
	}
}

func TestABoardOutsideOfAFleetSaysSoAtOnce(t *testing.T) {
	f := newFleet()
	f.board = &api.BoardStatus{Membership: api.MembershipNone}
	f.fail = func(string) error { return api.Errorf(api.Unavailable, "", "no leader is known") }
	for _, args := range []string{"node ls", "node ps", "service create -d x"} {
		r := f.edgectl(t, strings.Fields(args)...)
		if r.code != 1 || !strings.Contains(r.err, "not a member of a fleet") || !strings.Contains(r.err, "edgectl init") {
			t.Errorf("%s: exit %d, %q", args, r.code, r.err)
		}
	}
}

func TestABoardOutsideOfAFleetSaysWhatItWaitsFor(t *testing.T) {
	for membership, want := range map[api.MembershipState]string{
		api.MembershipNone:    "edgectl: this board is not a member of a fleet: has no key: do this\n",
		api.MembershipSeeking: "edgectl: this board is not a member of a fleet: has no key: do this; follow it with edgectl status\n",
		api.MembershipRemoved: "edgectl: this board is not a member of a fleet: has no key: do this\n",
	} {
		f := newFleet()
		f.board = &api.BoardStatus{Membership: membership, Message: "has no key: do this"}
		f.fail = func(string) error { return api.Errorf(api.Unavailable, "", "no leader is known") }
		if r := f.edgectl(t, "node", "ls"); r.code != 1 || r.err != want {
			t.Errorf("%s: exit %d, %q", membership, r.code, r.err)
		}
	}
}

func TestAWeakFleetKeyIsRefused(t *testing.T) {
	f := newFleet()
	for _, key := range []string{"secret", "EDGEKEY-1-AAAA", ""} {
		r := f.edgectlWith(t.Context(), t, strings.NewReader(key+"\n"), "init", "--fleet-key-file", "-")
		if r.code != 1 || strings.Count(r.err, "\n") != 1 || len(f.asked) > 0 {
			t.Errorf("%q: exit %d, %q", key, r.code, r.err)
		}
	}
	key := strings.TrimSpace(f.edgectl(t, "fleet-key").out)
	if r := f.edgectlWith(t.Context(), t, strings.NewReader(key+"\n"), "init", "--fleet-key-file", "-"); r.code != 0 {
		t.Errorf("a made key was refused: %s", r.err)
	}
	if asked := requests[*api.InitRequest](f); len(asked) != 1 || asked[0].FleetKey != key {
		t.Errorf("asked %+v", asked)
	}
}
