package config

import (
	"encoding/json"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// plain turns a value into what JSON would hold: for data that is passed on to Vault as it is.
func (v value) plain() any {
	switch t := v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		out := make(map[string]any)
		for _, e := range v.section().fields {
			out[e.key] = e.value.plain()
		}
		return out
	case *ast.SequenceNode:
		out := make([]any, 0, len(t.Values))
		for _, item := range v.items() {
			out = append(out, item.plain())
		}
		return out
	case *ast.BoolNode:
		return t.Value
	case *ast.IntegerNode, *ast.FloatNode:
		if text := t.GetToken().Value; json.Valid([]byte(text)) {
			return json.Number(text)
		}
		v.fail("is a number that JSON does not know", `put it in quotes, or write it plainly: 1000, 1.5`)
		return nil
	case *ast.StringNode:
		return t.Value
	case *ast.LiteralNode:
		return strings.TrimSuffix(t.Value.Value, "\n")
	}
	return nil
}
