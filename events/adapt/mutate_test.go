package adapt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
)

// A mutant is a document with one value that is not what it should be.
type mutant struct {
	name  string
	body  []byte
	names []string // of members on the way to it, and of those in it
	gone  bool     // it is missing or null, which may mean something
}

// mutants are all of a document.
func mutants(t *testing.T, doc any) (out []mutant) {
	t.Helper()
	var walk func(at any, path string, names []string, set func(any), drop func() func())
	emit := func(name string, names []string, gone bool) {
		body, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mutant{name, body, slices.Clone(names), gone})
	}
	walk = func(at any, path string, names []string, set func(any), drop func() func()) {
		all := append(slices.Clone(names), inside(at)...)
		if set != nil {
			for kind, other := range others(at) {
				set(other)
				emit(path+" as "+kind, all, kind == "null")
			}
			set(at)
		}
		if drop != nil {
			restore := drop()
			emit(path+" missing", all, true)
			restore()
		}
		switch x := at.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(x)) {
				v := x[k]
				walk(v, path+"."+k, append(slices.Clone(names), k), func(to any) { x[k] = to }, func() func() { delete(x, k); return func() { x[k] = v } })
			}
		case []any:
			for i, v := range x {
				at := fmt.Sprintf("[%d]", i)
				walk(v, path+at, append(slices.Clone(names), at), func(to any) { x[i] = to }, nil)
			}
		}
	}
	walk(doc, "", nil, nil, nil)
	return out
}

// others are values of every other type. They hold a word that must never be seen again.
func others(at any) map[string]any {
	out := map[string]any{"null": nil, "number": 7, "string": "canary", "object": map[string]any{"canary": "canary"}, "list": []any{"canary"}, "bool": false}
	switch at.(type) {
	case nil:
		delete(out, "null")
	case float64:
		delete(out, "number")
	case string:
		delete(out, "string")
	case map[string]any:
		delete(out, "object")
	case []any:
		delete(out, "list")
	case bool:
		delete(out, "bool")
	}
	return out
}

func inside(at any) (names []string) {
	switch x := at.(type) {
	case map[string]any:
		for k, v := range x {
			names = append(append(names, k), inside(v)...)
		}
	case []any:
		for _, v := range x {
			names = append(names, inside(v)...)
		}
	}
	return names
}

// A specimen is a document that is read, and how.
type specimen struct {
	body []byte
	take func([]byte) (Result, error)
}

// specimens are all documents of the tests. listen hears the raw values in them.
func specimens(t *testing.T, listen func(string) events.Fingerprint) map[string]specimen {
	t.Helper()
	all := make(map[string]specimen)
	load := func(file string) []byte {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	format := func(name string, body []byte) {
		first, err := Report("", input(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = specimen{body, func(body []byte) (Result, error) {
			in := input(string(body))
			in.Hash = listen
			return Report(first.Format, in)
		}}
	}
	messages, _ := filepath.Glob("testdata/messages/*-[0-9].json")
	reports, _ := filepath.Glob("testdata/*-[0-9].json*")
	if len(messages) < 19 || len(reports) < 5 {
		t.Fatal(messages, reports)
	}
	for _, file := range messages {
		all[filepath.Base(file)] = specimen{load(file), func(body []byte) (Result, error) {
			source, in := sampled(file, body)
			if in.Hash != nil {
				in.Hash = listen
			}
			return Message(source, in)
		}}
	}
	for _, file := range reports {
		format(filepath.Base(file), load(file))
	}
	for name, d := range described() {
		all["described: "+name] = specimen{[]byte(d.body), func(body []byte) (Result, error) { return Message(d.source, native(body)) }}
	}
	for name, f := range formatteds() {
		format("format: "+name, []byte(f.body))
	}
	return all
}

// TestNothingIsLost: whatever one field of a message or report turns into, what was in it is an event, an explained ignore, or
// an error that names the field - and neither an error nor a raw value repeats anything of it.
func TestNothingIsLost(t *testing.T) {
	var values []string // raw ones, of the specimen in hand
	for name, s := range specimens(t, func(v string) events.Fingerprint { values = append(values, v); return hash(v) }) {
		t.Run(name, func(t *testing.T) {
			for line := range documents(s.body) {
				var doc any
				if err := json.Unmarshal(line, &doc); err != nil {
					t.Fatal(err)
				}
				values = nil
				want, err := s.take(line)
				if err != nil {
					t.Fatal(err)
				}
				secrets := slices.DeleteFunc(slices.Clone(values), func(v string) bool {
					return slices.ContainsFunc(want.Events, func(e events.Event) bool { return public(*e.Leak, v) })
				})
				for _, m := range mutants(t, doc) {
					if strings.HasPrefix(m.name, ".results.") && strings.HasSuffix(m.name, " missing") && !strings.Contains(m.name, "[") {
						continue // a file of a baseline: without it nothing is said of the file
					}
					got, err := s.take(m.body)
					judge(t, m, want, got, err, secrets)
				}
			}
		})
	}
}

// selectors is how many things there are that an event can be matched by, beside what it is called.
func selectors(r Result) (n int) {
	for _, e := range r.Events {
		if o := e.Offboarding; o != nil {
			n += len(o.Person.Identifiers)
			if o.Scope != nil {
				n += len(o.Scope.Organization+o.Scope.Team) * 1000
			}
		}
		if l := e.Leak; l != nil {
			n += len(l.Credential.Fingerprints) + len(l.Credential.PublicID)
			if l.Person != nil {
				n += len(l.Person.Identifiers)
			}
			if v := l.Credential.Vault; v != nil {
				n += len(v.Path)
			}
		}
	}
	return n
}

// public reports what an event may say: a public id, or the hash that a scanner has made.
func public(l events.Leak, v string) bool {
	return l.Credential.PublicID == v || slices.ContainsFunc(l.Credential.Fingerprints, func(fp events.Fingerprint) bool { return fp.Value == v })
}

// documents are the lines of JSON lines, or one document.
func documents(body []byte) func(func([]byte) bool) {
	if json.Valid(body) {
		return func(yield func([]byte) bool) { yield(body) }
	}
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(body) {
			if len(bytes.TrimSpace(line)) > 0 && !yield(line) {
				return
			}
		}
	}
}

func judge(t *testing.T, m mutant, want, got Result, err error, secrets []string) {
	t.Helper()
	told := ""
	if err != nil {
		told = err.Error()
	}
	for _, u := range got.Unread {
		told += "\n" + u.Why
	}
	named := slices.ContainsFunc(m.names, func(name string) bool { return strings.Contains(strings.ToLower(told), strings.ToLower(name)) })
	why := ""
	for _, i := range got.Ignored {
		why += "\n" + i.Why
	}
	fewer := len(got.Events) < len(want.Events)
	switch {
	case err == nil && len(got.Events)+len(got.Ignored)+len(got.Unread) == 0:
		t.Errorf("%s: nothing is said of it", m.name)
	case (err != nil || len(got.Unread) > 0) && !named:
		t.Errorf("%s: no field is named: %s", m.name, told)
	case err == nil && fewer && len(got.Unread) == 0 && len(got.Ignored) <= len(want.Ignored):
		t.Errorf("%s: an event is lost without a word", m.name)
	case err == nil && fewer && len(got.Unread) == 0 && !m.gone:
		t.Errorf("%s: an event is ignored: %s", m.name, why)
	case err == nil && !fewer && len(got.Unread) == 0 && !m.gone && selectors(got) < selectors(want):
		t.Errorf("%s: what an event is matched by is lost without a word", m.name)
	}
	raw, _ := json.Marshal(got)
	for _, secret := range secrets {
		if strings.Contains(told+string(raw), secret) {
			t.Errorf("%s: a raw value is repeated", m.name)
		}
	}
	if err != nil && strings.Contains(err.Error(), "canary") || slices.ContainsFunc(got.Unread, func(u Unread) bool { return strings.Contains(u.Why, "canary") }) {
		t.Errorf("%s: an error repeats the message: %s", m.name, told)
	}
}
