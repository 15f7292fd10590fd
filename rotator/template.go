package rotator

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A Template builds one text from the keys of a bundle: "postgres://{{DB_USER}}:{{DB_PASSWORD|url}}@db/shop".
// The filters url, base64 and trim change how a value is inserted.
type Template struct {
	parts []part
}

type part struct {
	text, key, filter string // text, or key with an optional filter
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}|\s]+)\s*(?:\|\s*([a-z0-9]+)\s*)?\}\}`)

// ParseTemplate reads the {{KEY}} form. The error names the part that is wrong.
func ParseTemplate(s string) (Template, error) {
	var t Template
	rest := s
	for {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		t.add(part{text: rest[:at[0]]})
		p := part{key: rest[at[2]:at[3]]}
		if at[4] >= 0 {
			p.filter = rest[at[4]:at[5]]
		}
		if _, ok := insert(p.filter, ""); !ok {
			return Template{}, fmt.Errorf("unknown filter %q; use url, base64 or trim", p.filter)
		}
		t.add(p)
		rest = rest[at[1]:]
	}
	if strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return Template{}, fmt.Errorf("unbalanced braces; a key is written {{KEY}} or {{KEY|url}}")
	}
	t.add(part{text: rest})
	return t, nil
}

func (t *Template) add(p part) {
	if p.text != "" || p.key != "" {
		t.parts = append(t.parts, p)
	}
}

// IsZero reports a template that was never set, or set to the empty text.
func (t Template) IsZero() bool { return len(t.parts) == 0 }

// Keys lists the bundle keys the template needs, in order of appearance.
func (t Template) Keys() []string {
	var out []string
	for _, p := range t.parts {
		if p.key != "" {
			out = append(out, p.key)
		}
	}
	return out
}

// Render inserts the values. It fails, naming the key, when one is missing or is not a text or number.
func (t Template) Render(set secret.Set) (secret.Value, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.key == "" {
			b.WriteString(p.text)
			continue
		}
		v, ok := set[p.key]
		if !ok {
			return secret.Value{}, fmt.Errorf("template needs key %q, which the bundle does not have", p.key)
		}
		s, ok := v.Text()
		if !ok {
			raw := v.Reveal()
			if len(raw) == 0 || strings.ContainsRune("{[n", rune(raw[0])) {
				return secret.Value{}, fmt.Errorf("template needs key %q as text, but it holds an object, a list or null", p.key)
			}
			s = string(raw)
		}
		text, _ := insert(p.filter, s)
		b.WriteString(text)
	}
	return secret.FromText(b.String()), nil
}

// insert applies a filter; ok is false for a filter that does not exist.
func insert(filter, s string) (out string, ok bool) {
	switch filter {
	case "":
		return s, true
	case "url": // safe in every part of a URL, user info included
		return strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), true
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(s)), true
	case "trim":
		return strings.TrimSpace(s), true
	}
	return "", false
}
