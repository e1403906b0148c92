package store

import (
	"bytes"
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/edgeswarm/edgeswarm/api"
)

// Table is an immutable set of objects of one noun, by key, with secondary
// indexes. Changing a table makes a new one that shares what is unchanged, so
// a View costs nothing to keep.
type Table[T api.Object] struct {
	schema  *schema[T]
	objects *iradix.Tree[T]
	indexes map[string]*iradix.Tree[T] // value 0x00 key -> object
}

// schema is what a table knows of its noun.
type schema[T api.Object] struct {
	name string
	// indexes yield the values under which an object is found.
	indexes map[string]func(T) []string
	// unique names those indexes in which a value belongs to one object.
	unique map[string]bool
	// describe names the object to a user who asked for a taken value.
	noun string
}

func newTable[T api.Object](s *schema[T]) Table[T] {
	t := Table[T]{schema: s, objects: iradix.New[T](), indexes: map[string]*iradix.Tree[T]{}}
	for name := range s.indexes {
		t.indexes[name] = iradix.New[T]()
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
	tree, ok := t.indexes[index]
	if !ok {
		panic("store: table " + t.schema.name + " has no index " + index)
	}
	return walk(tree, append([]byte(value), 0))
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

func indexKey(value, key string) []byte {
	var b bytes.Buffer
	b.WriteString(value)
	b.WriteByte(0)
	b.WriteString(key)
	return b.Bytes()
}

// with returns the table with obj put in place of what has its key.
func (t Table[T]) with(obj T) Table[T] {
	t = t.without(obj.Key())
	t.objects, _, _ = t.objects.Insert([]byte(obj.Key()), obj)
	next := make(map[string]*iradix.Tree[T], len(t.indexes))
	for name, tree := range t.indexes {
		for _, value := range t.schema.indexes[name](obj) {
			tree, _, _ = tree.Insert(indexKey(value, obj.Key()), obj)
		}
		next[name] = tree
	}
	t.indexes = next
	return t
}

// without returns the table less the object of that key, if it has one.
func (t Table[T]) without(key string) Table[T] {
	objects, old, had := t.objects.Delete([]byte(key))
	if !had {
		return t
	}
	next := make(map[string]*iradix.Tree[T], len(t.indexes))
	for name, tree := range t.indexes {
		for _, value := range t.schema.indexes[name](old) {
			tree, _, _ = tree.Delete(indexKey(value, key))
		}
		next[name] = tree
	}
	t.objects, t.indexes = objects, next
	return t
}

// taken names the other object that holds a unique value of obj, if one does.
func (t Table[T]) taken(obj T) (index, value, holder string, taken bool) {
	for index := range t.schema.unique {
		for _, value := range t.schema.indexes[index](obj) {
			for other := range t.By(index, value) {
				if other.Key() != obj.Key() {
					return index, value, other.Key(), true
				}
			}
		}
	}
	return "", "", "", false
}
