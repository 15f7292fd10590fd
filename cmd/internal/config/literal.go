package config

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// looksSecret knows the shapes that are always a secret.
var looksSecret = []struct {
	what, remedy string
	is           *regexp.Regexp
}{
	{"an OpenWhisk key", "put it into a file and name it with auth_file", regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}:[A-Za-z0-9]{32,}`)},
	{"a Vault token", "put it into a file and name it with token_file", regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{20,}`)},
	{"a Vault token", "put it into a file and name it with token_file", regexp.MustCompile(`^s\.[A-Za-z0-9]{24}$`)},
	{"an NKey seed", "put it into a file and name it with nkey_file", regexp.MustCompile(`\bS[UAON][A-Z2-7]{50,}`)},
	{"a private key", "put it into a file and name the file", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)},
	{"a signed token", "put it into a file and name the file", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ`)},
	{"an AWS secret or access key", "let Vault mint it", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`)},
}

// refuseLiteralSecrets walks every text of the file.
func (r *reader) refuseLiteralSecrets(n ast.Node, depth int) {
	if n == nil || depth > 4*maxDepth {
		return
	}
	switch t := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, p := range pairs(t) {
			r.refuseLiteralSecrets(p.Key, depth+1)
			r.refuseLiteralSecrets(p.Value, depth+1)
		}
	case *ast.SequenceNode:
		for _, item := range t.Values {
			r.refuseLiteralSecrets(item, depth+1)
		}
	case *ast.AnchorNode:
		r.refuseLiteralSecrets(t.Value, depth+1)
	case *ast.TagNode:
		r.refuseLiteralSecrets(t.Value, depth+1)
	case *ast.LiteralNode:
		r.refuseText(t.Value.Value, n)
	case *ast.StringNode:
		r.refuseText(t.Value, n)
	}
}

func (r *reader) refuseText(s string, n ast.Node) {
	for _, l := range looksSecret {
		if l.is.MatchString(s) {
			at := value{r: r, pos: position(n)}
			at.fail("this looks like "+l.what+"; no secret belongs in this file", l.remedy+"; and rotate it, it has been seen")
			return
		}
	}
}

// literalPassword reports a connection string or URL with a password that is not a template.
func literalPassword(s string) bool {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return keywordPassword.MatchString(s)
	}
	// The password may hold any character, so look at everything before the last @ of the authority.
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndex(authority, "@")
	if at < 0 {
		return false
	}
	_, password, ok := strings.Cut(authority[:at], ":")
	return ok && password != "" && !strings.Contains(password, "{{")
}

var keywordPassword = regexp.MustCompile(`(?i)\bpassword\s*=\s*['"]?[^\s{'"]`)

// show makes a piece of the file fit for an error text: short, on one line, and never a secret by its looks.
func show(s string) string {
	for _, l := range looksSecret {
		if l.is.MatchString(s) {
			return "[redacted]"
		}
	}
	if strings.Contains(s, "://") {
		if u, err := url.Parse(s); err != nil || u.User != nil {
			return "[redacted]"
		}
	}
	s = printable(s)
	if short := []rune(s); len(short) > 64 {
		return string(short[:61]) + "..."
	}
	return s
}

// printable keeps control characters away from the terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
}
