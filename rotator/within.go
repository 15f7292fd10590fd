package rotator

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A finding is where in a value something is that is looked for.
type finding struct {
	which int    // of the values looked for
	at    string // "db.password", "keys[2]"; "" for the value itself
	how   string // "in base64"; "" as it is
}

// unwraps is how many wrappings are taken off: JSON in a text in base64 in a URL.
const unwraps = 4

// within finds where in a value, and how, something is that is looked for.
func within(v secret.Value, s Sought) []finding {
	w := &sifting{sought: s}
	w.value(v, finding{}, unwraps)
	return w.out
}

// sifting takes one value apart.
type sifting struct {
	sought Sought
	out    []finding
	taken  int // pieces
}

// try compares one value. What is found twice at one place is there once, the first way.
func (w *sifting) try(v secret.Value, f finding) bool {
	is := w.sought.is(v)
	for _, f.which = range is {
		w.add(f)
	}
	return len(is) > 0
}

func (w *sifting) add(f finding) {
	if !slices.ContainsFunc(w.out, func(o finding) bool { return o.which == f.which && o.at == f.at }) {
		w.out = append(w.out, f)
	}
}

// value compares v and everything in it.
func (w *sifting) value(v secret.Value, f finding, left int) bool {
	found := w.try(v, f)
	raw := v.Reveal()
	switch raw[0] {
	case '{':
		var object map[string]json.RawMessage
		_ = json.Unmarshal(raw, &object)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			shown := name
			if w.try(secret.FromText(name), f.by("as the name of a member")) {
				shown, found = "*", true
			}
			found = w.raw(object[name], f.inside(shown), left) || found
		}
	case '[':
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list)
		for i, item := range list {
			found = w.raw(item, f.inside("["+strconv.Itoa(i)+"]"), left) || found
		}
	case '"':
		text, _ := v.Text()
		found = w.text(text, f, left, found)
	case 't', 'f', 'n':
	default:
		for _, text := range decimals(string(raw)) {
			found = w.try(secret.FromText(text), f.by("as a number")) || found
		}
	}
	return found
}

// raw is JSON out of a valid value.
func (w *sifting) raw(raw json.RawMessage, f finding, left int) bool {
	v, err := secret.FromJSON(raw)
	return err == nil && w.value(v, f, left)
}

// text looks at what a text is made of, what says most first.
func (w *sifting) text(text string, f finding, left int, found bool) bool {
	if left > 0 {
		if c := strings.TrimSpace(text); c != "" && strings.IndexByte("{[\"-0123456789", c[0]) >= 0 {
			found = w.raw(json.RawMessage(c), f.by("in a text that is JSON"), left-1) || found
		}
		found = w.pieces(pieces(text), f, left-1) || found
	}
	if how := w.sought.part(text); !found && how != "" {
		w.add(f.by(how))
		found = true
	}
	if left > 0 {
		found = w.pieces(decoded(text), f, left-1) || found
	}
	return found
}

func (w *sifting) pieces(ps []piece, f finding, left int) (found bool) {
	for _, p := range ps {
		if w.taken++; p.text != "" && w.taken <= mostPieces {
			found = w.value(secret.FromText(p.text), f.by(p.how), left) || found
		}
	}
	return found
}

// inside steps into a member or an item.
func (f finding) inside(step string) finding {
	if f.at != "" && !strings.HasPrefix(step, "[") {
		step = "." + step
	}
	f.at += step
	return f
}

// by adds how.
func (f finding) by(how string) finding {
	f.how = strings.TrimPrefix(f.how+", "+how, ", ")
	return f
}

// decimals are the texts of a number: as it is written, and in full.
func decimals(number string) []string {
	out := []string{number}
	if _, exponent, has := strings.Cut(strings.ToLower(number), "e"); len(number) > 64 || has && len(exponent) > 3 {
		return out // too long to be written in full
	}
	n, ok := new(big.Rat).SetString(number)
	if !ok {
		return out
	}
	full := n.RatString()
	if !n.IsInt() {
		full = strings.TrimRight(n.FloatString(40), "0")
	}
	if full != number {
		out = append(out, full)
	}
	return out
}
