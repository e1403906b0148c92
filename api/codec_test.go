package api

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// nouns are what the replicated state holds.
var nouns = []Object{&Cluster{}, &Node{}, &Service{}, &Task{}, &Image{}, &Secret{}, &Config{}, &Network{}}

// wireTypes are the nouns and every message of every method of the services.
func wireTypes(t testing.TB) []reflect.Type {
	seen := map[reflect.Type]bool{}
	for _, n := range nouns {
		seen[reflect.TypeOf(n).Elem()] = true
	}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		switch {
		case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && strings.HasSuffix(t.Elem().PkgPath(), "/api"):
			seen[t.Elem()] = true
		case t.Kind() == reflect.Interface && t != reflect.TypeFor[context.Context]() && t != reflect.TypeFor[error]():
			for i := range t.NumMethod() { // a stream: its Send and Recv have the messages
				m := t.Method(i).Type
				for j := range m.NumIn() {
					visit(m.In(j))
				}
				for j := range m.NumOut() {
					visit(m.Out(j))
				}
			}
		}
	}
	visit(reflect.TypeFor[ControlServer]())
	visit(reflect.TypeFor[BoardServer]())
	visit(reflect.TypeFor[DispatchServer]())
	visit(reflect.TypeFor[VaultServer]())
	visit(reflect.TypeFor[NetworkServer]())
	var all []reflect.Type
	for typ := range seen {
		all = append(all, typ)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name() < all[j].Name() })
	if len(all) < 50 {
		t.Fatalf("found only %d types of the wire", len(all))
	}
	return all
}

// fill gives every field a value that no zero value equals; n makes each its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, *n, time.UTC)))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr(fmt.Sprintf("fd00::%x", *n))))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix(fmt.Sprintf("fd00:%x::/64", *n))))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort(fmt.Sprintf("[fe80::%x%%eth0]:2377", *n))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(-*n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n%250 + 1))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	default:
		panic("a value of the wire holds a " + v.Type().String())
	}
}

func filled(typ reflect.Type) reflect.Value {
	v, n := reflect.New(typ), 0
	fill(v.Elem(), &n)
	return v
}

func TestEveryWireTypeRoundTrips(t *testing.T) {
	for _, typ := range wireTypes(t) {
		for what, v := range map[string]reflect.Value{"full": filled(typ), "zero": reflect.New(typ)} {
			raw, err := Encode(v.Interface())
			if err != nil {
				t.Errorf("%s, %s: %v", typ, what, err)
				continue
			}
			for mode, decode := range map[string]func([]byte, any) error{"Decode": Decode, "DecodeStrict": DecodeStrict} {
				got := reflect.New(typ)
				if err := decode(raw, got.Interface()); err != nil || !reflect.DeepEqual(got.Interface(), v.Interface()) {
					t.Errorf("%s, %s: %s = %+v, %v\nwant %+v", typ, what, mode, got.Elem(), err, v.Elem())
				}
			}
			if again, _ := Encode(v.Interface()); !bytes.Equal(again, raw) {
				t.Errorf("%s, %s: two encodings differ", typ, what)
			}
		}
	}
}

func TestUnknownFieldsPassOnlyWhereNothingIsKept(t *testing.T) {
	for _, typ := range wireTypes(t) {
		raw, err := Encode(filled(typ).Interface())
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]cbor.RawMessage{}
		if err := Decode(raw, &fields); err != nil {
			t.Fatal(err)
		}
		fields["OfTheFuture"] = cbor.RawMessage{0x01}
		newer, err := Encode(fields)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(newer, reflect.New(typ).Interface()); err != nil {
			t.Errorf("%s: Decode: %v", typ, err)
		}
		if err := DecodeStrict(newer, reflect.New(typ).Interface()); err == nil {
			t.Errorf("%s: DecodeStrict lost a field", typ)
		}
	}
}

func TestCloneIsDeep(t *testing.T) {
	for _, noun := range nouns {
		typ := reflect.TypeOf(noun).Elem()
		original, untouched := filled(typ), filled(typ)
		switch o := original.Interface().(type) {
		case *Service:
			c := Clone(o)
			if !reflect.DeepEqual(c, o) {
				t.Errorf("clone differs: %+v", c)
			}
			c.Spec.Labels["new"] = "x"
			c.Spec.TaskTemplate.ContainerSpec.Env[0] = "X=1"
			*c.Spec.Mode.Replicated.Replicas = 99
			c.PreviousSpec.Name = "other"
		case *Node:
			c := Clone(o)
			c.Status.Addrs[0] = netip.AddrPort{}
			c.ManagerStatus.Leader = false
		case *Cluster:
			c := Clone(*o)
			c.RootCA.CertPEM[0]++
			c.Spec.Labels["new"] = "x"
		case *Task:
			c := Clone(o)
			c.Ports[0].PublishedPort = 1
			*c.Status.ExitCode = 1
		case *Image:
			c := Clone(o)
			c.Names[0] = "other"
		}
		if !reflect.DeepEqual(original.Interface(), untouched.Interface()) {
			t.Errorf("%s: writing to a clone wrote to the original", typ)
		}
	}
}

func TestEmptyIsNotAbsent(t *testing.T) {
	none, zero := []string{}, uint64(0)
	raw, err := Encode(ServicePatch{Command: &none, Replicas: &zero})
	if err != nil {
		t.Fatal(err)
	}
	var got ServicePatch
	if err := DecodeStrict(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Command == nil || len(*got.Command) != 0 || got.Replicas == nil || *got.Replicas != 0 || got.Args != nil {
		t.Errorf("an update to nothing came as no update: %+v", got)
	}
}

func TestEncodingIsDeterministic(t *testing.T) {
	a, b := map[string]string{}, map[string]string{}
	for i := range 50 {
		a[fmt.Sprint("k", i)] = "v"
		b[fmt.Sprint("k", 49-i)] = "v"
	}
	x, _ := Encode(Annotations{Labels: a})
	y, _ := Encode(Annotations{Labels: b})
	if !bytes.Equal(x, y) {
		t.Error("equal values are not equal bytes")
	}
}

// Whatever bytes a string holds, it must not make what it is part of unreadable.
func TestStringsNeedNotBeUTF8(t *testing.T) {
	raw, err := Encode(TaskStatus{Err: "caf\xe9: \xff"})
	if err != nil {
		t.Fatal(err)
	}
	var got TaskStatus
	if err := DecodeStrict(raw, &got); err != nil || got.Err != "caf\xe9: \xff" {
		t.Errorf("%q, %v", got.Err, err)
	}
}

func TestHostileInputIsRefused(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x81}, 1000), 0x80)
	many := append([]byte{0xa1, 0x65, 'T', 'a', 's', 'k', 's', 0x9a, 0, 2, 0, 0}, bytes.Repeat([]byte{0xa0}, 0x20000)...)
	for name, raw := range map[string][]byte{
		"nothing":           {},
		"cut off":           {0xa1, 0x61},
		"a list of 2^64":    {0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"text of 2^62":      {0xa1, 0x65, 'T', 'a', 's', 'k', 's', 0x7b, 0x40, 0, 0, 0, 0, 0, 0, 0},
		"without end":       {0xbf, 0xff},
		"deep":              deep,
		"many empty tasks":  many,
		"a field twice":     {0xa2, 0x65, 'T', 'a', 's', 'k', 's', 0x80, 0x65, 'T', 'a', 's', 'k', 's', 0x80},
		"more behind it":    {0xa0, 0xa0},
		"a list for struct": {0x80, 0x80},
	} {
		var into ListTasksResponse
		if err := Decode(raw, &into); err == nil {
			t.Errorf("%s was read: %d tasks", name, len(into.Tasks))
		}
	}
	var task Task
	if err := Decode([]byte{0xa1, 0x62, 'i', 'd', 0x61, 'x'}, &task); err != nil || task.ID != "" {
		t.Errorf("a field under another case of its name was taken: %q, %v", task.ID, err)
	}
}

func FuzzDecode(f *testing.F) {
	types := wireTypes(f)
	for i, typ := range types {
		raw, err := Encode(filled(typ).Interface())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), raw)
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		typ := types[int(which)%len(types)]
		v := reflect.New(typ)
		if DecodeStrict(raw, v.Interface()) != nil {
			return
		}
		once, err := Encode(v.Interface())
		if err != nil {
			t.Fatalf("%s was read but can't be written: %v", typ, err)
		}
		again := reflect.New(typ)
		if err := DecodeStrict(once, again.Interface()); err != nil {
			t.Fatalf("%s was written but can't be read: %v", typ, err)
		}
		if twice, _ := Encode(again.Interface()); !bytes.Equal(once, twice) {
			t.Fatalf("%s changes each time it is written", typ)
		}
	})
}
