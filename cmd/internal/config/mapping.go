package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// entries lists the pairs of a mapping, with merge keys (<<) expanded behind them.
func (v value) entries() []entry {
	var own, merged []entry
	for _, mv := range pairs(v.node) {
		if mv.Key.IsMergeKey() {
			merged = append(merged, v.merge(mv.Value)...)
			continue
		}
		key := keyText(mv.Key)
		at := position(mv.Key)
		inside := v.child(mv.Value, join(v.path, key), at)
		if inside.node != nil && !isMapping(inside.node) {
			inside.pos = position(mv.Value)
		}
		own = append(own, entry{key: key, pos: at, value: inside})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(own, func(e entry) bool { return e.key == m.key }) {
			own = append(own, m)
		}
	}
	return own
}

func (v value) merge(n ast.Node) []entry {
	m := v.child(n, v.path, position(n))
	if _, ok := m.node.(*ast.SequenceNode); ok {
		var out []entry
		for _, item := range m.items() {
			item.path = v.path
			out = append(out, item.nested()...)
		}
		return out
	}
	return m.nested()
}

// nested lists the pairs of a merged mapping; its own merges count as one level deeper.
func (v value) nested() []entry {
	if v.r.values > maxValues || !isMapping(v.node) {
		return nil
	}
	v.r.merges++
	defer func() { v.r.merges-- }()
	if v.r.merges > maxDepth {
		return nil
	}
	return v.entries()
}

type entry struct {
	key   string
	pos   *token.Position
	value value
}

func isMapping(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

func pairs(n ast.Node) []*ast.MappingValueNode {
	switch t := n.(type) {
	case *ast.MappingNode:
		return t.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{t}
	}
	return nil
}

func keyText(k ast.MapKeyNode) string {
	if m, ok := k.(*ast.MappingKeyNode); ok && m.Value != nil {
		return m.Value.GetToken().Value
	}
	return k.GetToken().Value
}
