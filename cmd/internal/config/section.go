package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A section is one mapping with fixed keys. It learns the keys it may have from the questions asked, so
// that done can tell what nobody asked for.
type section struct {
	value
	fields  map[string]entry
	asked   []string
	misread map[string]string // keys people try, with the remedy
	lacking []lack
}

// A lack is a required key that is not there. It is reported at the end, and not at all when an unknown key
// of the section is a misspelling of it.
type lack struct{ key, remedy string }

// section reads v as a mapping. An absent value is an empty section.
func (v value) section() *section {
	s := &section{value: v, fields: make(map[string]entry), misread: make(map[string]string)}
	if v.node == nil {
		return s
	}
	if !isMapping(v.node) {
		v.fail("is "+kindOf(v.node)+", wants a mapping", "write key: value, one line each")
		s.broken = true
		return s
	}
	for _, e := range v.entries() {
		if first, ok := s.fields[e.key]; ok {
			at := value{r: v.r, path: join(v.path, e.key), pos: e.pos}
			at.fail(fmt.Sprintf("the key is there twice; first on line %d", first.pos.Line), "keep one of them")
			continue
		}
		s.fields[e.key] = e
	}
	return s
}

// field is the value of a key, and whether it is there and not null.
func (s *section) field(key string) (value, bool) {
	if !slices.Contains(s.asked, key) {
		s.asked = append(s.asked, key)
	}
	e, ok := s.fields[key]
	if !ok || e.value.node == nil {
		return value{r: s.r, path: join(s.path, key), pos: s.pos}, false
	}
	return e.value, true
}

func (s *section) sub(key string) *section {
	v, _ := s.field(key)
	return v.section()
}

// require reports an absent field and returns it otherwise.
func (s *section) require(key, remedy string) (value, bool) {
	v, ok := s.field(key)
	if !ok {
		s.lacks(key, remedy)
	}
	return v, ok
}

func (s *section) lacks(key, remedy string) {
	if !s.fields[key].value.broken && !s.broken {
		s.lacking = append(s.lacking, lack{key, remedy})
	}
}

// place is where a missing field is reported: at its own key if that is there without a value.
func (s *section) place(key string) value {
	at := value{r: s.r, path: join(s.path, key), pos: s.pos}
	if e, ok := s.fields[key]; ok {
		at.pos = e.pos
	}
	return at
}

// done reports every key that nobody asked for, and every required one that is not there.
func (s *section) done() {
	var meant string
	for _, key := range slices.Sorted(maps.Keys(s.fields)) {
		if slices.Contains(s.asked, key) {
			continue
		}
		at := value{r: s.r, path: s.path, pos: s.fields[key].pos}
		if remedy, ok := s.misread[key]; ok {
			at.fail(fmt.Sprintf("key %q does not belong here", show(key)), remedy)
			continue
		}
		remedy := didYouMean(key, s.asked)
		meant += remedy
		at.fail(fmt.Sprintf("unknown key %q", show(key)), remedy)
	}
	for _, l := range s.lacking {
		if !strings.Contains(meant, fmt.Sprintf("did you mean %q?", l.key)) {
			s.place(l.key).fail("is missing", l.remedy)
		}
	}
}

// literal says that these keys would hold a secret, and what to write instead.
func (s *section) literal(remedy string, keys ...string) {
	for _, k := range keys {
		s.misread[k] = "no secret belongs in this file; " + remedy
	}
}
