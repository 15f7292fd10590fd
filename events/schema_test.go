package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// oracle compiles the published schemas, one for each kind.
func oracle(t testing.TB) map[Kind]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out := map[Kind]*jsonschema.Schema{}
	for _, k := range kinds() {
		body, err := fs.ReadFile(Schemas(), k.schemaName()+".v1.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(k.dataSchema(), doc); err != nil {
			t.Fatal(err)
		}
		if out[k], err = c.Compile(k.dataSchema()); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// compare asks the schema and the decoder about the same data.
func compare(t testing.TB, schemas map[Kind]*jsonschema.Schema, k Kind, data any) bool {
	t.Helper()
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	says := schemas[k].Validate(doc)
	_, ours := DecodeFile(fmt.Appendf(nil, `{"specversion":"1.0","id":"i","source":"s","type":%q,"time":"2026-01-01T00:00:00Z","data":%s}`, k.Type(), body), time.Time{})
	if (says == nil) != (ours == nil) {
		t.Fatalf("schema: %v\nours: %v\n%s %s", says, ours, k, body)
	}
	return says == nil
}

func TestDecoderAgreesWithSchemas(t *testing.T) {
	schemas := oracle(t)
	rng := rand.New(rand.NewPCG(7, 11))
	accepted, refused := 0, 0
	samples := encodedData(t)
	for range 3000 {
		k, data := mutated(t, samples, rng)
		if compare(t, schemas, k, data) {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 200 || refused < 200 {
		t.Errorf("the mutations are lopsided: %d accepted, %d refused", accepted, refused)
	}
}

func FuzzDecoderAgreesWithSchemas(f *testing.F) {
	schemas := oracle(f)
	samples := encodedData(f)
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		k, data := mutated(t, samples, rand.New(rand.NewPCG(a, b)))
		compare(t, schemas, k, data)
	})
}

// TestEveryLimitAgreesWithSchemas puts every palette value in every place.
func TestEveryLimitAgreesWithSchemas(t *testing.T) {
	schemas := oracle(t)
	for k, sample := range encodedData(t) {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			for i := range slotsOf(fresh(t, sample)) {
				for _, v := range palette() {
					data := fresh(t, sample)
					slotsOf(data)[i].set(v)
					compare(t, schemas, k, data)
				}
				data := fresh(t, sample)
				slotsOf(data)[i].remove()
				compare(t, schemas, k, data)
			}
		})
	}
}

func mutated(t testing.TB, samples map[Kind][]byte, rng *rand.Rand) (Kind, map[string]any) {
	k := kinds()[rng.IntN(len(kinds()))]
	data := fresh(t, samples[k])
	for range 1 + rng.IntN(3) {
		slots := slotsOf(data)
		if len(slots) == 0 {
			break
		}
		s := slots[rng.IntN(len(slots))]
		switch rng.IntN(4) {
		case 0:
			s.remove()
		case 1:
			s.add(rng)
		default:
			s.set(palette()[rng.IntN(len(palette()))])
		}
	}
	return k, data
}

// encodedData returns the data of a full event of each kind.
func encodedData(t testing.TB) map[Kind][]byte {
	t.Helper()
	out := map[Kind][]byte{}
	for _, e := range full() {
		e = trimmed(e)
		var event struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(encoded(t, e), &event); err != nil {
			t.Fatal(err)
		}
		out[e.Kind] = event.Data
	}
	return out
}

// trimmed leaves the parts that all kinds share in the leak alone, to save time.
func trimmed(e Event) Event {
	email := Person{Identifiers: []Identifier{{Format: "email", Email: "a@b"}}}
	switch e.Kind {
	case KindOffboarding:
		e.Offboarding.Person = email
	case KindExpiring:
		e.Expiring.Credential = Credential{Name: "n"}
	case KindManual:
		e.Manual.Credential, e.Manual.RequestedBy = Credential{Name: "n"}, email
	}
	return e
}

func fresh(t testing.TB, sample []byte) map[string]any {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(sample, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// slot is one place in a tree of data that can be changed.
type slot struct {
	set    func(any)
	remove func()
	add    func(*rand.Rand)
}

func slotsOf(object map[string]any) []slot {
	var out []slot
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, slot{
			set:    func(v any) { object[name] = v },
			remove: func() { delete(object, name) },
			add: func(rng *rand.Rand) {
				object[newNames()[rng.IntN(len(newNames()))]] = palette()[rng.IntN(len(palette()))]
			},
		})
		switch v := object[name].(type) {
		case map[string]any:
			out = append(out, slotsOf(v)...)
		case []any:
			out = append(out, slotsOfList(object, name, v)...)
		}
	}
	return out
}

func slotsOfList(owner map[string]any, name string, list []any) []slot {
	var out []slot
	for i, item := range list {
		out = append(out, slot{
			set:    func(v any) { list[i] = v },
			remove: func() { owner[name] = slices.Delete(slices.Clone(list), i, i+1) },
			add: func(rng *rand.Rand) {
				owner[name] = append(slices.Clone(list), slices.Repeat([]any{item}, rng.IntN(40))...)
			},
		})
		if o, ok := item.(map[string]any); ok {
			out = append(out, slotsOf(o)...)
		}
	}
	return out
}

func newNames() []string {
	return []string{"x", "token", "Value", "value", "id", "uri", "email", "key_id", "company", "externalId", "detail", "url", "severity", "version"}
}

// palette has values on both sides of every limit in the schemas.
func palette() []any {
	out := []any{nil, true, 0, 1, -1, 1.5, json.Number("2.0"), json.Number("1e2"), json.Number("1e-2"), json.Number("-0.0"), json.Number("100e-2"),
		[]any{}, []any{1}, []any{"x"}, map[string]any{}, map[string]any{"format": "email"}, "", "x", "é",
		"high", "unknown", "committed", "deleted", "admin", "sha1", "gg-hmsl", "email", "opaque", "scim", "employee", "HIGH",
		hex64, hex64[:40], hex64[:39], hex64 + "0", strings.ToUpper(hex64), "acct:", "Acct:x",
		"/a/b", "/a/b/c", "/a", "/a/b/c/d", "/a//b", "a/b", "/a/b\n", "git-hub", "Git", "-git", strings.Repeat("g", 33),
		"https://x", "x/y", "mailto:a@b", "http://[::1]/", "http://[::1", "http://[zz]/", "http://a:b/", ":", "http://%zz", "http://1:2:3/", "\\",
		"2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123456789012z", "2026-01-02T03:04:05+23:59", "2026-01-02T03:04:05+24:00", "2026-02-30T00:00:00Z",
		"2026-01-02T24:00:00Z", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05,5Z", "2016-12-31T23:59:60Z", "2016-12-31T22:59:60Z",
		"2016-12-31T22:59:60-01:00", "2026-1-2T3:4:5Z", "2026-01-02T03:04:61Z", "2024-02-29T00:00:00.Z"}
	for _, limit := range []int{64, 128, 256, 320, 512, 1024, 2048} {
		out = append(out, strings.Repeat("é", limit), strings.Repeat("é", limit+1))
	}
	return append(out, "https://x/"+strings.Repeat("a", 2038), "https://x/"+strings.Repeat("a", 2039))
}
