package flagvalue

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// check runs a parser over what it must read and what it must refuse.
func check[T any](t *testing.T, name string, parse func(string) (T, error), good map[string]string, bad map[string]string) {
	t.Helper()
	for in, want := range good {
		got, err := parse(in)
		if text := fmt.Sprintf("%+v", got); err != nil || text != want {
			t.Errorf("%s(%q) = %s, %v; want %s", name, in, text, err, want)
		}
	}
	for in, say := range bad {
		_, err := parse(in)
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s(%q): err = %v; want one line with %q", name, in, err, say)
		}
	}
}

func TestNumbers(t *testing.T) {
	check(t, "Count", Count, map[string]string{"0": "0", "6": "6"},
		map[string]string{"-1": "below 0", "x": "whole number", "": "whole number", "1.5": "whole number", "99999999999": "too large"})
	check(t, "Ratio", Ratio, map[string]string{"0": "0", "1": "1", "0.25": "0.25"},
		map[string]string{"-0.1": "between", "1.01": "between", "NaN": "between", "x": "between"})
	check(t, "CPUs", CPUs, map[string]string{"0": "0", "0.5": "500000000", "2": "2000000000", ".25": "250000000"},
		map[string]string{"-1": "below 0", "0.0001": "0.001", "1/2": "amount", "x": "amount", "1e3": "amount", "99999999999999": "many"})
	check(t, "Bytes", Bytes, map[string]string{"0": "0", "1024": "1024", "64m": "67108864", "64MB": "67108864", "1.5GiB": "1610612736", "1K": "1024", "5b": "5"},
		map[string]string{"-1": "below 0", "x": "amount", "1x": "amount", "m": "amount", "1bk": "amount", "9999999t": "much", "nan": "amount"})
	check(t, "Memory", Memory, map[string]string{"0": "0", "4m": "4194304"}, map[string]string{"1m": "4m"})
	check(t, "Duration", Duration, map[string]string{"10s": "10s", "0s": "0s", "0": "0s", "1m30s": "1m30s"},
		map[string]string{"10": "unit", "-5s": "below 0", "soon": "unit"})
}

func TestWordsOfTheSpec(t *testing.T) {
	check(t, "Label", Label, map[string]string{"web": "web", "web-1": "web-1"}, map[string]string{
		"": "DNS label", "Web": "letters a-z", "-web": "DNS label", "web-": "DNS label", "we_b": "DNS label", "web.a": "DNS label", "wéb": "DNS label",
		strings.Repeat("a", 64): "DNS label"})
	check(t, "Constraint", Constraint, map[string]string{
		"node.role==manager": "node.role==manager", "node.labels.zone != attic": "node.labels.zone!=attic"},
		map[string]string{"node.role=manager": "==", "zone==a": "unknown key", "node.role==": "no value", "": "constraint"})
	check(t, "Signal", Signal, map[string]string{"SIGTERM": "SIGTERM", "hup": "SIGHUP", "9": "9", "RTMIN+3": "SIGRTMIN+3"},
		map[string]string{"": "signal", "0": "signal", "-9": "signal", "sig term": "signal"})
	check(t, "AbsPath", AbsPath, map[string]string{"/srv": "/srv", "": ""}, map[string]string{"srv": "absolute"})
	check(t, "Choice", Choice("a", "b", "c"), map[string]string{"b": "b"}, map[string]string{"d": "a, b or c", "": "a, b or c"})
	check(t, "ParsePair", ParsePair, map[string]string{"a=b=c": "{Key:a Value:b=c}", "a": "{Key:a Value:}"}, map[string]string{"=b": "no key", "": "no key", "a b=c": "a space in it"})
}

func TestMounts(t *testing.T) {
	check(t, "Mount", Mount, map[string]string{
		"type=bind,src=/a,dst=/b,readonly":      "{Type:bind Source:/a Target:/b ReadOnly:true TmpfsOptions:<nil>}",
		"type=bind,source=/a,target=/b,ro=0":    "{Type:bind Source:/a Target:/b ReadOnly:false TmpfsOptions:<nil>}",
		"src=data,destination=/var/lib":         "{Type:volume Source:data Target:/var/lib ReadOnly:false TmpfsOptions:<nil>}",
		`type=bind,"src=/a,b",dst=/c`:           "{Type:bind Source:/a,b Target:/c ReadOnly:false TmpfsOptions:<nil>}",
		"type=volume,src=data,dst=/x,ro=true":   "{Type:volume Source:data Target:/x ReadOnly:true TmpfsOptions:<nil>}",
		"type=tmpfs,dst=/tmp,readonly=f,dst=/t": "{Type:tmpfs Source: Target:/t ReadOnly:false TmpfsOptions:<nil>}",
	}, map[string]string{
		"type=bind,src=a,dst=/b": "absolute path on the board", "type=bind,src=/a": "no target", "type=nfs,dst=/b": "choices",
		"src=a/b,dst=/c": "volume's name", "dst=/c": "needs a name", "type=tmpfs,src=a,dst=/c": "no source",
		"src=a,dst=c": "absolute", "src=a,dst=/": "other than /", "src=a,dst=/c,tmpfs-size=1m": "only for", "src=a,dst=/c,foo=1": "not known",
		"src=a,dst": "has no value", "src=a,dst=/c,ro=maybe": "true or false", "type=tmpfs,dst=/c,tmpfs-mode=9": "octal", "": "can't be read",
		"type=tmpfs,dst=/c,tmpfs-size=big": "amount",
	})
	m, err := Mount("type=tmpfs,dst=/t,tmpfs-size=16m,tmpfs-mode=1770")
	if err != nil || m.TmpfsOptions == nil || m.TmpfsOptions.SizeBytes != 16<<20 || m.TmpfsOptions.Mode != 0o1770 {
		t.Errorf("tmpfs = %+v, %v", m, err)
	}
}

func TestPorts(t *testing.T) {
	check(t, "Port", Port, map[string]string{
		"mode=host,target=80,published=8080":              "{Protocol:tcp TargetPort:80 PublishedPort:8080 PublishMode:host Address:invalid Prefix}",
		"published=53,target=5353,protocol=udp,mode=host": "{Protocol:udp TargetPort:5353 PublishedPort:53 PublishMode:host Address:invalid Prefix}",
		"mode=host,target=80":                             "{Protocol:tcp TargetPort:80 PublishedPort:0 PublishMode:host Address:invalid Prefix}",
		"target=80,published=8080":                        "{Protocol:tcp TargetPort:80 PublishedPort:8080 PublishMode:ingress Address:invalid Prefix}",
		"8080:80":                                         "{Protocol:tcp TargetPort:80 PublishedPort:8080 PublishMode:ingress Address:invalid Prefix}",
		"8080:80/udp":                                     "{Protocol:udp TargetPort:80 PublishedPort:8080 PublishMode:ingress Address:invalid Prefix}",
		"80":                                              "{Protocol:tcp TargetPort:80 PublishedPort:0 PublishMode:ingress Address:invalid Prefix}",
		"10.0.0.1:8080:80":                                "{Protocol:tcp TargetPort:80 PublishedPort:8080 PublishMode:ingress Address:10.0.0.1/32}",
		"10.0.0.0/8::80":                                  "{Protocol:tcp TargetPort:80 PublishedPort:0 PublishMode:ingress Address:10.0.0.0/8}",
		"target=53,published=53,address=192.168.1.0/24": "{Protocol:tcp TargetPort:53 PublishedPort:53 PublishMode:ingress Address:192.168.1.0/24}",
	}, map[string]string{
		"mode=host,published=8080":    "no target port",
		"mode=host,target=0":          "1 to 65535",
		"mode=host,target=70000":      "1 to 65535",
		"mode=bridge,target=80":       "host or ingress",
		"mode=host,target=80,foo=bar": "not known",
		"8000-8010:80":                "ranges",
		"10.0.0.1/8:8080:80":          "address or subnet",
		"[::1]:8080:80":               "address or subnet",
		"board:8080:80":               "address or subnet",
		":80":                         "not a port",
		"8080:":                       "not a port",
		"80/sctp":                     "tcp or udp",
		"":                            "not a port",
	})
	check(t, "TargetPort", TargetPort, map[string]string{
		"80":                                 "{Protocol: TargetPort:80 PublishedPort:0 PublishMode: Address:invalid Prefix}",
		"80/udp":                             "{Protocol:udp TargetPort:80 PublishedPort:0 PublishMode: Address:invalid Prefix}",
		"8080:80":                            "{Protocol: TargetPort:80 PublishedPort:0 PublishMode: Address:invalid Prefix}",
		"mode=host,target=80,published=8080": "{Protocol:tcp TargetPort:80 PublishedPort:0 PublishMode: Address:invalid Prefix}",
	}, map[string]string{"x": "not a port", "80/x": "tcp or udp", "published=80": "no target"})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("EDGE_TEST_SET", "here")
	check(t, "Env", Env, map[string]string{"A=b=c": "A=b=c", "A=": "A=", "EDGE_TEST_SET": "EDGE_TEST_SET=here", "EDGE_TEST_NOT_SET": ""},
		map[string]string{"=x": "no name", "": "no name", "A B=x": "a space in it", "A=\x00": "NUL"})
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("\ufeffA=1\n# no\n\n  B=2 # kept\nEDGE_TEST_SET\nEDGE_TEST_NOT_SET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := EnvFile(file)
	if got := fmt.Sprintf("%q", env); err != nil || got != `["A=1" "B=2 # kept" "EDGE_TEST_SET=here"]` {
		t.Errorf("EnvFile = %s, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("A=1\n=2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := EnvFile(file); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("err = %v", err)
	}
	if _, err := EnvFile(file + "x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("err = %v", err)
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		``: `[]`, `  `: `[]`, `a b`: `["a" "b"]`, `sh -c 'echo "hi" there'`: `["sh" "-c" "echo \"hi\" there"]`,
		`"a b"c d\ e`: `["a bc" "d e"]`, `""`: `[""]`, `"a\"b\n"`: `["a\"b\\n"]`,
	} {
		got, err := Words(in)
		if text := fmt.Sprintf("%q", got); err != nil || text != want {
			t.Errorf("Words(%s) = %s, %v; want %s", in, text, err, want)
		}
	}
	for _, in := range []string{`'a`, `"a`, `a\`} {
		if _, err := Words(in); err == nil {
			t.Errorf("Words(%s) was read", in)
		}
	}
}

func TestOneFlagUnderTwoNames(t *testing.T) {
	o := New(Duration, "duration")
	if o.String() != "" || o.Or(time.Minute) != time.Minute {
		t.Errorf("before: %s, %v", o, o.Or(time.Minute))
	}
	for _, s := range []string{"60s", "1m"} { // the same duration twice is no contradiction
		if err := o.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Set("2m"); err == nil || *o.Value != time.Minute {
		t.Errorf("a second value was taken: %v, %v", *o.Value, err)
	}
}
