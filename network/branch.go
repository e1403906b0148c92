package network

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// branches are chains of a table that are found by a key, each by itself in a map
// of verdicts: what changes with tasks is one of them. Its name is its key, so
// that what is in place tells what it is for.
type branches struct {
	table  *nftables.Table
	set    *nftables.Set // of the keys
	prefix string        // of the chains' names
}

// branch is one that there is to be. Mark names it by its content, and is on its
// first rule.
type branch struct {
	key   []byte
	mark  string
	rules func(c *nftables.Conn) [][]expr.Any
}

func (b branches) name(key []byte) string { return b.prefix + hex.EncodeToString(key) }

// change adds, rewrites and removes branches that differ from what there is, by
// name and mark, and tells if any does.
func (b branches) change(c *nftables.Conn, want map[string]branch, have map[string]string) (changed bool) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w := want[name]
		mark, known := have[name]
		if known && mark == w.mark {
			continue
		}
		changed = true
		chain := &nftables.Chain{Name: name, Table: b.table}
		if known {
			c.FlushChain(chain)
		} else {
			chain = c.AddChain(chain)
		}
		for _, exprs := range w.rules(c) {
			c.AddRule(&nftables.Rule{Table: b.table, Chain: chain, UserData: []byte(w.mark), Exprs: exprs})
		}
		if !known {
			_ = c.SetAddElements(b.set, []nftables.SetElement{ledBy(w.key, name)}) // fails only on an anonymous set
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, kept := want[name]; kept {
			continue
		}
		changed = true
		if key, err := hex.DecodeString(strings.TrimPrefix(name, b.prefix)); err == nil {
			_ = c.SetDeleteElements(b.set, []nftables.SetElement{ledBy(key, name)})
		}
		chain := &nftables.Chain{Name: name, Table: b.table}
		c.FlushChain(chain)
		c.DelChain(chain)
	}
	return changed
}

func ledBy(key []byte, chain string) nftables.SetElement {
	return nftables.SetElement{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// read tells what is in place: the one mark on all rules of the table's other
// chains, "" if they are not there or not whole, and the branches' marks by name.
// There are to be so many others.
func (b branches) read(c *nftables.Conn, others int) (frame string, have map[string]string, err error) {
	chains, err := c.ListChainsOfTableFamily(b.table.Family)
	if err != nil {
		return "", nil, err
	}
	have = map[string]string{}
	whole := true
	for _, chain := range chains {
		if chain.Table.Name != b.table.Name {
			continue
		}
		rules, err := c.GetRules(chain.Table, chain)
		if err != nil {
			return "", nil, err
		}
		if strings.HasPrefix(chain.Name, b.prefix) {
			have[chain.Name] = ""
			if len(rules) > 0 {
				have[chain.Name] = string(rules[0].UserData)
			}
			continue
		}
		others--
		whole = whole && len(rules) > 0
		for _, r := range rules {
			mark := string(r.UserData)
			whole = whole && (frame == "" || frame == mark)
			frame = mark
		}
	}
	if !whole || others != 0 {
		frame = ""
	}
	return frame, have, nil
}
