package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what one file may make the reader do; aliases could multiply without end.
const (
	maxBytes  = 4 << 20
	maxDepth  = 32
	maxValues = 200_000
)

// A reader collects problems while the parts of the file are read.
type reader struct {
	file     string
	dir      string
	machine  Machine
	problems Problems
	hosts    map[string]Host // read before the bundles
	anchors  map[string]ast.Node
	values   int // read so far
	deep     bool
	merges   int // merge keys being expanded
}

// A value is one YAML value with the place it stands at.
type value struct {
	r    *reader
	node ast.Node // nil: absent
	path string
	pos  *token.Position

	broken bool // reported already; nothing else follows from it
}

func (v value) fail(text, remedy string) { v.report(text, remedy, false) }
func (v value) warn(text, remedy string) { v.report(text, remedy, true) }

func (v value) report(text, remedy string, warning bool) {
	p := Problem{File: v.r.file, Path: v.path, Text: text, Remedy: remedy, Warning: warning, Line: 1, Column: 1}
	if v.pos != nil {
		p.Line, p.Column = v.pos.Line, v.pos.Column
	}
	v.r.problems = append(v.r.problems, p)
}

// position is where a person would look for the node: its first character.
func position(n ast.Node) *token.Position {
	switch t := n.(type) {
	case nil:
		return nil
	case *ast.DocumentNode:
		return position(t.Body)
	case *ast.MappingNode:
		if !t.IsFlowStyle && len(t.Values) > 0 {
			return position(t.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(t.Key)
	}
	if tk := n.GetToken(); tk != nil {
		return tk.Position
	}
	return nil
}

// resolve strips anchors, tags and aliases; nil stands for absent and for null.
func (r *reader) resolve(n ast.Node) ast.Node {
	for range maxDepth {
		switch t := n.(type) {
		case *ast.AnchorNode:
			n = t.Value
		case *ast.TagNode:
			n = t.Value
		case *ast.AliasNode:
			n = r.anchors[t.Value.GetToken().Value]
		case *ast.NullNode:
			return nil
		default:
			return n
		}
	}
	return nil
}

// child makes the value below v, or an absent one when the file is deeper or larger than it may be.
func (v value) child(n ast.Node, path string, pos *token.Position) value {
	c := value{r: v.r, path: path, pos: pos}
	v.r.values++
	if v.r.values > maxValues || strings.Count(path, ".")+strings.Count(path, "[") > maxDepth {
		if !v.r.deep {
			c.fail("the file is nested too deeply or repeats itself too often", "use fewer aliases")
		}
		v.r.deep = true
		return c
	}
	if a, ok := n.(*ast.AliasNode); ok && v.r.anchors[a.Value.GetToken().Value] == nil {
		c.fail("alias of an anchor that does not exist", "define it with &name, or put the text in quotes")
		c.broken = true
		return c
	}
	c.node = v.r.resolve(n)
	return c
}

// items are the members of a list.
func (v value) items() []value {
	if v.node == nil {
		return nil
	}
	seq, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.fail("is "+kindOf(v.node)+", wants a list", "write [ ... ], or one line with - for each")
		return nil
	}
	out := make([]value, 0, len(seq.Values))
	for i, n := range seq.Values {
		out = append(out, v.child(n, fmt.Sprintf("%s[%d]", v.path, i), position(n)))
	}
	return out
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	}
	return "something else"
}

// join adds a key to a path, in quotes when the key itself looks like a path.
func join(path, key string) string {
	if strings.ContainsAny(key, ". []\"\n") || key == "" {
		return fmt.Sprintf("%s[%q]", path, show(key))
	}
	if path == "" {
		return show(key)
	}
	return path + "." + show(key)
}
