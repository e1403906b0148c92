package store

import (
	"iter"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/edgeswarm/edgeswarm/api"
)

// Table is an immutable set of objects of one noun, by key, with secondary
// indexes. Changing a table makes a new one that shares what is unchanged, so
// a View costs nothing to keep.
type Table[T api.Object] struct {
	schema  *schema[T]
	objects *iradix.Tree[T]
	indexes []*iradix.Tree[T] // as in schema; value and key -> object
}

// schema is what a table knows of its noun.
type schema[T api.Object] struct {
	name    string // as log entries name the table, and users the noun
	indexes []index[T]
}

// index yields the values under which an object is found.
type index[T api.Object] struct {
	name   string
	unique bool // a value belongs to one object
	values func(T) []string
}

func newTable[T api.Object](s *schema[T]) Table[T] {
	t := Table[T]{schema: s, objects: iradix.New[T]()}
	for range s.indexes {
		t.indexes = append(t.indexes, iradix.New[T]())
	}
	return t
}

// Len is the number of objects.
func (t Table[T]) Len() int { return t.objects.Len() }

// Get finds an object by its key.
func (t Table[T]) Get(key string) (T, bool) { return t.objects.Get([]byte(key)) }

// All yields every object in order of key.
func (t Table[T]) All() iter.Seq[T] { return t.Prefix("") }

// Prefix yields the objects whose key begins with prefix, in order of key.
func (t Table[T]) Prefix(prefix string) iter.Seq[T] { return walk(t.objects, []byte(prefix)) }

// By yields the objects that an index holds under value, in order of key. It
// panics on an index that the table does not have.
func (t Table[T]) By(index, value string) iter.Seq[T] {
	for i := range t.schema.indexes {
		if t.schema.indexes[i].name == index {
			return walk(t.indexes[i], indexKey(value, ""))
		}
	}
	panic("store: table " + t.schema.name + " has no index " + index)
}

func walk[T any](tree *iradix.Tree[T], prefix []byte) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix(prefix)
		for _, obj, ok := it.Next(); ok; _, obj, ok = it.Next() {
			if !yield(obj) {
				return
			}
		}
	}
}

// indexKey ends the value with 0x00 0x01, and escapes what could be taken for
// that: values are also what boards say of themselves.
func indexKey(value, key string) []byte {
	if strings.IndexByte(value, 0) >= 0 {
		value = strings.ReplaceAll(value, "\x00", "\x00\xff")
	}
	b := make([]byte, 0, len(value)+2+len(key))
	b = append(b, value...)
	b = append(b, 0, 1)
	return append(b, key...)
}

// taken names the other object that holds a unique value of obj, if one does.
func (t Table[T]) taken(obj T) (index, value, holder string, taken bool) {
	for _, ix := range t.schema.indexes {
		if !ix.unique {
			continue
		}
		for _, value := range ix.values(obj) {
			for other := range t.By(ix.name, value) {
				if other.Key() != obj.Key() {
					return ix.name, value, other.Key(), true
				}
			}
		}
	}
	return "", "", "", false
}

// editor changes a table in place, sharing copies among its changes.
type editor[T api.Object] struct {
	schema  *schema[T]
	objects *iradix.Txn[T]
	indexes []*iradix.Txn[T]
}

func (t Table[T]) edit() *editor[T] {
	e := &editor[T]{schema: t.schema, objects: t.objects.Txn()}
	for _, tree := range t.indexes {
		e.indexes = append(e.indexes, tree.Txn())
	}
	return e
}

// put puts obj in place of what has its key.
func (e *editor[T]) put(obj T) {
	key := obj.Key()
	old, had := e.objects.Insert([]byte(key), obj)
	for i, ix := range e.schema.indexes {
		if had {
			for _, value := range ix.values(old) {
				e.indexes[i].Delete(indexKey(value, key))
			}
		}
		for _, value := range ix.values(obj) {
			e.indexes[i].Insert(indexKey(value, key), obj)
		}
	}
}

// drop removes the object of that key, if there is one.
func (e *editor[T]) drop(key string) {
	old, had := e.objects.Delete([]byte(key))
	if !had {
		return
	}
	for i, ix := range e.schema.indexes {
		for _, value := range ix.values(old) {
			e.indexes[i].Delete(indexKey(value, key))
		}
	}
}

func (e *editor[T]) done() Table[T] {
	t := Table[T]{schema: e.schema, objects: e.objects.CommitOnly()}
	for _, txn := range e.indexes {
		t.indexes = append(t.indexes, txn.CommitOnly())
	}
	return t
}
