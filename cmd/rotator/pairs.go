package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// pairs are the KEY VALUE pairs behind a flag; each Set is one, as a JSON array that expandPairs has made.
type pairs struct{ list [][2]string }

func (p *pairs) String() string { return "" }
func (p *pairs) Type() string   { return "KEY VALUE" }
func (p *pairs) Set(text string) error {
	var pair [2]string
	if err := json.Unmarshal([]byte(text), &pair); err != nil {
		return errors.New("write it as: -p KEY VALUE")
	}
	p.list = append(p.list, pair)
	return nil
}

func (p *pairs) values() (out []string) {
	for _, pair := range p.list {
		out = append(out, pair[1])
	}
	return out
}

// expandPairs rewrites "-p KEY VALUE [KEY VALUE ...]", which flag libraries do not know, into one flag per pair. Pairs end at
// the next flag. It looks at every other flag as well, so that no error of the library repeats what may be a value.
func expandPairs(root *cobra.Command, args []string) ([]string, error) {
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Flags().Lookup("param") == nil || cmd.Name() != "update" {
		return args, nil
	}
	l := &line{cmd: cmd, rest: rest}
	out := strings.Fields(cmd.CommandPath())[1:]
	for len(l.rest) > 0 {
		next, err := l.flag()
		if err != nil {
			return nil, err
		}
		out = append(out, next...)
	}
	return out, nil
}

// A line is the rest of a command line.
type line struct {
	cmd  *cobra.Command
	rest []string
	done int // arguments before rest
}

func (l *line) take(n int) []string {
	taken := l.rest[:n]
	l.rest, l.done = l.rest[n:], l.done+n
	return taken
}

// flag takes the next argument, with what belongs to it.
func (l *line) flag() ([]string, error) {
	word := l.rest[0]
	if word == "--" {
		return l.take(len(l.rest)), nil
	}
	if len(word) < 2 || word[0] != '-' {
		return l.take(1), nil
	}
	if remedy := remedyOfAIO(word, l.rest[1:]); remedy != "" {
		return nil, errors.New(remedy)
	}
	name, value, attached := cutFlag(word)
	f, ok := l.lookup(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("argument %d after %q is no flag of this command; see: %s --help", l.done+1, l.cmd.CommandPath(), l.cmd.CommandPath())
	case f.pairs:
		l.take(1)
		if attached {
			l.rest, l.done = append([]string{value}, l.rest...), l.done-1
		}
		return l.pairs(f.name)
	case f.bare && attached && value != "true" && value != "false":
		return nil, fmt.Errorf("%s is given or not; it has no value", dashed(name))
	case attached && word[1] != '-' && word[2] != '=': // "-hunter2" is no output format, and no file to tell that it is missing
		return nil, fmt.Errorf("argument %d after %q: write a space after %s", l.done+1, l.cmd.CommandPath(), dashed(name))
	case f.bare || attached:
		return l.take(1), nil
	case len(l.rest) < 2 || l.isFlag(l.rest[1]):
		return nil, fmt.Errorf("%s wants a value after it; is a variable empty?", dashed(name))
	}
	return l.take(2), nil
}

// A flagKind is a flag that the command has.
type flagKind struct {
	name        string
	pairs, bare bool // what follows it: KEY VALUE pairs, nothing; otherwise a value
}

// lookup finds a flag by either of its names.
func (l *line) lookup(name string) (flagKind, bool) {
	if name == "h" || name == "help" { // made later by the library
		return flagKind{name: "help", bare: true}, true
	}
	_ = l.cmd.InheritedFlags() // merges them into Flags
	f := l.cmd.Flags().Lookup(name)
	if f == nil && len(name) == 1 {
		f = l.cmd.Flags().ShorthandLookup(name)
	}
	if f == nil {
		return flagKind{}, false
	}
	return flagKind{name: f.Name, pairs: f.Value.Type() == new(pairs).Type(), bare: f.NoOptDefVal != ""}, true
}

// cutFlag splits "--name=value", "-nvalue" and "-n=value".
func cutFlag(word string) (name, value string, attached bool) {
	if long, ok := strings.CutPrefix(word, "--"); ok {
		name, value, attached = strings.Cut(long, "=")
		return name, value, attached
	}
	return word[1:2], strings.TrimPrefix(word[2:], "="), len(word) > 2
}

// pairs takes KEY VALUE [KEY VALUE ...].
func (l *line) pairs(name string) ([]string, error) {
	var out []string
	flag := "--" + name
	for first := true; len(l.rest) > 0 && (first || !strings.HasPrefix(l.rest[0], "-")); first = false {
		words := l.rest[:min(2, len(l.rest))]
		switch {
		case l.isFlag(words[0]):
			return nil, fmt.Errorf("%s has no KEY VALUE after it, but another flag; is a variable empty? Put it in quotes", flag)
		case len(words) < 2:
			return nil, fmt.Errorf("%s: a KEY without a VALUE is left over; put values with spaces in quotes, and the name of the target before the pairs", flag)
		case l.isFlag(words[1]):
			name, _, _ := cutFlag(words[1])
			return nil, fmt.Errorf("%s: where a VALUE should be stands the flag %s; is a variable empty? Put it in quotes. If that is the value, give it with --param-file", flag, dashed(name))
		case strings.Contains(words[0], "="):
			return nil, fmt.Errorf("%s: a KEY holds a =; write %s KEY VALUE, with a space between them", flag, flag)
		case !utf8.ValidString(words[0]) || !utf8.ValidString(words[1]):
			return nil, fmt.Errorf("%s: argument %d or the one after it is not UTF-8; encode it as base64", flag, l.done+1)
		}
		pair, err := json.Marshal(words)
		if err != nil {
			return nil, err
		}
		out = append(out, flag+"="+string(pair))
		l.take(2)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no KEY VALUE after it", flag)
	}
	return out, nil
}

// isFlag reports a flag of this command, or of aio: nobody means it as a key or a value. "-1" and "-----BEGIN" are none.
func (l *line) isFlag(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	name, _, attached := cutFlag(word)
	if len(name) == 1 && (attached || strings.HasPrefix(word, "--")) {
		return false
	}
	_, ours := l.lookup(name)
	return ours || ofAIO(name) != ""
}
