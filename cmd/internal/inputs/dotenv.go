package inputs

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// assignment is one KEY=VALUE of a .env file, as the dotenv package of Node reads it: quoted values may go over lines, an
// unquoted one ends at a #.
var assignment = regexp.MustCompile("^[ \\t]*(?:export[ \\t]+)?([\\w.-]+)[ \\t]*=[ \\t]*('(?:\\\\'|[^'])*'|\"(?:\\\\\"|[^\"])*\"|`(?:\\\\`|[^`])*`|[^#\\r\\n'\"`][^#\\r\\n]*)?[ \\t]*(?:#[^\\r\\n]*)?(?:\\r?\\n|$)")

var blank = regexp.MustCompile(`^[ \t]*(?:#[^\r\n]*)?(?:\r?\n|$)`)

// DotEnv reads a .env file. Nothing is expanded: a $ in a password is a $. Between double quotes \n and \r are line ends.
func DotEnv(raw []byte) (param.List, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8")
	}
	var l param.List
	seen := make(map[string]int)
	for rest := raw; len(rest) > 0; {
		line := 1 + bytes.Count(raw[:len(raw)-len(rest)], []byte("\n"))
		if m := blank.Find(rest); m != nil {
			rest = rest[len(m):]
			continue
		}
		m := assignment.FindSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("line %d is no KEY=VALUE; is a quote left open?", line)
		}
		key := string(m[1])
		if first := seen[key]; first > 0 {
			return nil, fmt.Errorf("%s is given twice, in lines %d and %d", key, first, line)
		}
		seen[key] = line
		l = append(l, param.Entry{Key: key, Value: secret.FromText(unquote(string(m[2])))})
		rest = rest[len(m[0]):]
	}
	return l, nil
}

// Settings are the lines of a .env file that read KEY=VALUE, as dotenv takes them: what does not is skipped, and the last of several
// wins. It is for settings that others read from the file as well, and never for parameters.
func Settings(raw []byte) map[string]string {
	out := make(map[string]string)
	for rest := raw; len(rest) > 0; {
		m := assignment.FindSubmatch(rest)
		if m == nil {
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
			continue
		}
		out[string(m[1])] = unquote(string(m[2]))
		rest = rest[len(m[0]):]
	}
	return out
}

func unquote(text string) string {
	text = strings.TrimSpace(text)
	if len(text) < 2 || !strings.ContainsRune("'\"`", rune(text[0])) || text[len(text)-1] != text[0] {
		return text
	}
	inner := text[1 : len(text)-1]
	if text[0] == '"' {
		inner = strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(inner)
	}
	return inner
}
