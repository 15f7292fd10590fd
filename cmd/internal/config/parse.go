package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parse turns bytes into the value of the whole file.
func (r *reader) parse(data []byte) (value, bool) {
	root := value{r: r}
	if len(data) > maxBytes {
		root.fail(fmt.Sprintf("the file is larger than %d bytes", maxBytes), "a configuration is a few pages; is this the right file?")
		return root, false
	}
	// The parser counts a CRLF line more than once and does not know a byte order mark.
	data = bytes.TrimPrefix(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\ufeff"))
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(root, err)
		return root, false
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		root.fail("the file is empty", "`rotator example` prints a commented example to start from")
		return root, false
	case len(bodies) > 1:
		root.pos = position(bodies[1])
		root.fail("the file holds more than one YAML document", "remove the line ---")
		return root, false
	}
	r.anchors = make(map[string]ast.Node)
	for _, n := range ast.Filter(ast.AnchorType, bodies[0]) {
		if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
			r.anchors[a.Name.GetToken().Value] = a.Value
		}
	}
	root.node, root.pos = bodies[0], position(bodies[0])
	return root, true
}

// syntax reports where the parser stopped. The parser's own text would quote the line, and so maybe a secret.
func (r *reader) syntax(root value, err error) {
	text := "this is not YAML"
	if e, ok := errors.AsType[yaml.Error](err); ok {
		if strings.Contains(e.GetMessage(), "'\t'") {
			root.pos = e.GetToken().Position
			root.fail(text+": it is indented with a TAB", "indent with spaces")
			return
		}
		text += ": " + printable(quoted.ReplaceAllString(e.GetMessage(), "..."))
		if tk := e.GetToken(); tk != nil {
			root.pos = tk.Position
		}
	}
	root.fail(text, "mind the indentation, and put texts with : # { [ in quotes")
}

var quoted = regexp.MustCompile(`"[^"]*"`)
