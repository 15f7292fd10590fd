package rotator

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Sought is what a Search looks for: values by their fingerprints, or one value that is at hand. It prints no value.
type Sought interface {
	// is says which of the values v is.
	is(v secret.Value) []int
	// part says how the value is inside of a text, "" if it is not. Fingerprints do not tell.
	part(text string) string
}

// Prints looks for values of which the fingerprints are known, several of each: by other algorithms. Places name them by their index.
func Prints(key secret.Key, values ...[]events.Fingerprint) Sought {
	p := prints{key: key, by: make(map[string]map[string][]int)}
	for i, fps := range values {
		for _, fp := range fps {
			if fp.Alg == "hmac-sha256" && fp.KeyID != key.ID() {
				continue
			}
			if p.by[fp.Alg] == nil {
				p.by[fp.Alg] = make(map[string][]int)
			}
			p.by[fp.Alg][fp.Value] = append(p.by[fp.Alg][fp.Value], i)
		}
	}
	return p
}

// prints are the fingerprints by algorithm and digest: however many are looked for, a value is hashed once for each algorithm.
type prints struct {
	key secret.Key
	by  map[string]map[string][]int
}

func (p prints) is(v secret.Value) (out []int) {
	for alg, digests := range p.by {
		out = append(out, digests[p.key.Digest(alg, v)]...)
	}
	return out
}

func (p prints) part(string) string { return "" }

// LeastPart is how long a value has to be, in bytes, to be looked for inside of longer texts: a shorter one is everywhere.
const LeastPart = 8

// Known looks for a value that is at hand: in other spellings, and inside of longer texts.
func Known(v secret.Value) Sought {
	text, ok := v.Text()
	if !ok {
		text = string(v.Reveal())
	}
	text = strings.TrimSpace(text)
	k := known{text: secret.FromText(text)}
	if parsed, err := secret.FromJSON([]byte(text)); err == nil {
		k.parsed, k.isJSON = parsed, true
	}
	if len(text) >= LeastPart {
		k.parts = parts(text)
	}
	return k
}

type known struct {
	text   secret.Value
	parsed secret.Value // the JSON that the text is
	isJSON bool
	parts  func(text string) string // nil: too short
}

func (k known) is(v secret.Value) []int {
	if k.text.Equal(v) || k.isJSON && k.parsed.Equal(v) {
		return []int{0}
	}
	return nil
}

func (k known) part(text string) string {
	if k.parts == nil {
		return ""
	}
	return k.parts(text)
}

// parts compares with the spellings that a value has inside of a longer text.
func parts(value string) func(text string) string {
	type spelling struct{ text, how string }
	spellings := []spelling{{value, "inside of a longer text"}}
	for _, quoted := range quoted(value) {
		spellings = append(spellings, spelling{quoted, "inside of a longer text, escaped as in JSON"})
	}
	for _, text := range inBase64(value) {
		spellings = append(spellings, spelling{text, "inside of a longer text, in base64"})
	}
	return func(text string) string {
		for _, s := range spellings {
			if strings.Contains(text, s.text) {
				return s.how
			}
		}
		if plain := unescaped(text); plain != text && (strings.Contains(plain, value) || strings.Contains(strings.ReplaceAll(plain, "+", " "), value)) {
			return "inside of a longer text, percent-encoded"
		}
		return ""
	}
}

// quoted is what a value looks like in JSON: some writers escape <, > and &, too.
func quoted(value string) []string {
	raw := secret.FromText(value).Reveal()
	var html bytes.Buffer
	json.HTMLEscape(&html, raw)
	return []string{string(raw[1 : len(raw)-1]), html.String()[1 : html.Len()-1]}
}

// inBase64 is what a text in base64 holds when what it encodes holds the value: the same bytes look different at each of three offsets,
// and the digits at the edges depend on the neighbours.
func inBase64(value string) (out []string) {
	for offset := range 3 {
		padded := append(bytes.Repeat([]byte{0}, offset), value...)
		first, last := (offset*8+5)/6, len(padded)*8/6 // digits that depend on the value alone
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			out = append(out, encoding.EncodeToString(padded)[first:last])
		}
	}
	return out
}

// unescaped takes percent-encoding off, and leaves alone what is none.
func unescaped(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if i+2 < len(text) && text[i] == '%' {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// A piece is a part of a text that may be a value by itself.
type piece struct{ text, how string }

// pieces are what can be told apart in a text without knowing what is looked for.
func pieces(text string) (out []piece) {
	if trimmed := strings.TrimSpace(text); trimmed != text {
		out = append(out, piece{trimmed, "with white space around it"})
	}
	rest := text
	for range mostURLs {
		_, behind, found := strings.Cut(rest, "://")
		if !found {
			break
		}
		rest = behind
		out = append(out, ofURL(rest[:min(len(rest), longestURL)])...)
	}
	return out
}

// Bounds on what is taken apart: a value may be as large and as strange as somebody wants.
const (
	mostURLs   = 64 // in one text
	longestURL = 4 << 10
	mostPieces = 5_000 // of one value, all together
)

// decoded is what a text stands for when it is encoded as a whole.
func decoded(text string) (out []piece) {
	if plain := unescaped(text); plain != text {
		out = append(out, piece{plain, "percent-encoded"})
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "=")); err == nil && utf8.Valid(raw) {
			out = append(out, piece{strings.TrimSpace(string(raw)), "in base64"})
			break
		}
	}
	return out
}

// ofURL takes apart what stands behind the :// of a URL. User info is taken by hand, too, as drivers do: it may not be encoded as it should
// be.
func ofURL(text string) (out []piece) {
	if end := strings.IndexAny(text, " \t\r\n\"'`<>"); end >= 0 {
		text = text[:end]
	}
	user := func(name, password string) {
		out = append(out, piece{password, "the password of a URL"}, piece{name, "the user of a URL"}, piece{name + ":" + password, "user and password of a URL"})
	}
	if u, err := url.Parse("x://" + text); err == nil {
		if u.User != nil {
			password, _ := u.User.Password()
			user(u.User.Username(), password)
		}
		for name, values := range u.Query() {
			for _, v := range values {
				out = append(out, piece{v, "query " + strconv.Quote(name) + " of a URL"})
			}
		}
	}
	if at := strings.LastIndex(text, "@"); at > 0 {
		name, password, _ := strings.Cut(text[:at], ":")
		user(name, password)
	}
	return out
}
