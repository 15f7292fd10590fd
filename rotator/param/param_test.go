package param_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const canary = "canary-3f9a1c"

func parse(t testing.TB, text string) param.List {
	t.Helper()
	l, err := param.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParseKeepsEverything(t *testing.T) {
	for _, text := range []string{
		`[]`,
		`[{"key":"A","value":1}]`,
		`[{"key":"","value":null}]`,
		`[{"key":"A","value":1.500e2},{"key":"B","value":{"z":[1, 2],"a":null}}]`,
		`[{"key":"A","value":"<&>\u2028\u00e9 é"}]`,
		`[{"key":"A","value":"x","init":true}]`,
		`[{"key":"A","value":"x","init":false}]`,
		`[{"key":"A","value":"x","encryption":"aes-256"}]`,
		`[{"key":"A","value":"x","encryption":""}]`,
		`[{"key":"A","value":"x","init":true,"encryption":"aes-128"}]`,
		`[{"key":"A","value":"x","init":true,"encryption":null}]`,
		`[{"key":"A","value":"x","init":false,"encryption":null}]`,
		`[{"key":"A","value":"x","mark":{"of":"a newer host"}}]`,
	} {
		if got := string(parse(t, text).Encode()); got != text {
			t.Errorf("%s came back as %s", text, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `null`, `{}`, `"x"`, `[1]`, `[null]`, `[[]]`, `[{}]`, `{"B":21}`,
		`[{"key":"B"}]`, `[{"value":1}]`, `[{"key":null,"value":1}]`, `[{"key":1,"value":1}]`, `[{"KEY":"B","VALUE":1}]`,
		`[{"key":"B","value":1,"init":"yes"}]`, `[{"key":"B","value":1,"init":null}]`, `[{"key":"B","value":1,"init":1}]`,
		`[{"key":"B","value":1,"encryption":null}]`, `[{"key":"B","value":1,"encryption":1}]`,
		`[{"key":"B","value":1}`, `[{"key":"B","value":"` + canary + `"}`, `[{"key":"B","value":` + canary + `}]`,
		`[{"key":"B","value":"` + canary + `","init":"` + canary + `"}]`,
	} {
		_, err := param.Parse([]byte(text))
		if !errors.Is(err, param.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", text, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", err), canary[:6]) {
			t.Errorf("the error repeats a value: %v", err)
		}
	}
}

func TestRepeatedKey(t *testing.T) {
	l := parse(t, `[{"key":"B","value":1,"init":true},{"key":"A","value":0},{"key":"B","value":2}]`)
	if got := string(l.Encode()); got != `[{"key":"A","value":0},{"key":"B","value":2}]` {
		t.Errorf("the last one wins, got %s", got)
	}
}

func TestOwn(t *testing.T) {
	const locked = `{"key":"L","value":"b64","encryption":"aes-128"}`
	for name, tc := range map[string]struct{ merged, inherited, own string }{
		"inherited":             {`[{"key":"A","value":1},{"key":"B","value":20}]`, `[{"key":"A","value":1},{"key":"B","value":2}]`, `[{"key":"B","value":20}]`},
		"same as JSON":          {`[{"key":"A","value":{"x":1,"y":1.0}}]`, `[{"key":"A","value":{"y":1, "x":1}}]`, `[]`},
		"other init":            {`[{"key":"A","value":1,"init":true}]`, `[{"key":"A","value":1}]`, `[{"key":"A","value":1,"init":true}]`},
		"init false is absent":  {`[{"key":"A","value":1}]`, `[{"key":"A","value":1,"init":false}]`, `[]`},
		"locked":                {`[` + locked + `]`, `[` + locked + `]`, `[]`},
		"locked, mark differs":  {`[` + locked + `]`, `[{"key":"L","value":"b64"}]`, `[` + locked + `]`},
		"unknown mark":          {`[{"key":"A","value":1,"x":1}]`, `[{"key":"A","value":1}]`, `[{"key":"A","value":1,"x":1}]`},
		"key is case-sensitive": {`[{"key":"a","value":1}]`, `[{"key":"A","value":1}]`, `[{"key":"a","value":1}]`},
		"nothing inherited":     {`[{"key":"A","value":1}]`, `[]`, `[{"key":"A","value":1}]`},
	} {
		if got := string(parse(t, tc.merged).Own(parse(t, tc.inherited)).Encode()); got != tc.own {
			t.Errorf("%s: %s, want %s", name, got, tc.own)
		}
	}
}

func TestWithAndWithout(t *testing.T) {
	l := parse(t, `[{"key":"A","value":"old","encryption":"aes-128"},{"key":"B","value":1,"init":true,"encryption":null}]`)
	next := l.With(param.List{{Key: "A", Value: secret.FromText("new")}, {Key: "C", Value: secret.FromText("c"), Init: true}})
	if got := string(next.Encode()); got != `[{"key":"A","value":"new"},{"key":"B","value":1,"init":true,"encryption":null},{"key":"C","value":"c","init":true}]` {
		t.Errorf("With: %s", got)
	}
	if got := string(next.Without("A", "none").Encode()); got != `[{"key":"B","value":1,"init":true,"encryption":null},{"key":"C","value":"c","init":true}]` {
		t.Errorf("Without: %s", got)
	}
	if e, ok := l.Get("A"); !ok || e.Encryption != "aes-128" {
		t.Error("With changed its receiver")
	}
	if got := l.Missing(next); !slices.Equal(got, []string{"C"}) {
		t.Errorf("Missing: %v", got)
	}
	if got := next.Missing(l); got != nil {
		t.Errorf("Missing of a superset: %v", got)
	}
	if !slices.Equal(next.Keys(), []string{"A", "B", "C"}) {
		t.Errorf("Keys: %v", next.Keys())
	}
}

func TestEqualIgnoresOrder(t *testing.T) {
	a := parse(t, `[{"key":"A","value":1},{"key":"B","value":2,"init":true}]`)
	if !a.Equal(parse(t, `[{"key":"B","value":2.0,"init":true},{"key":"A","value":1}]`)) {
		t.Error("the same set in another order is not equal")
	}
	for _, other := range []string{`[]`, `[{"key":"A","value":1}]`, `[{"key":"A","value":1},{"key":"B","value":2}]`, `[{"key":"A","value":1},{"key":"B","value":3,"init":true}]`, `[{"key":"A","value":1},{"key":"C","value":2,"init":true}]`} {
		if a.Equal(parse(t, other)) {
			t.Errorf("equal to %s", other)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int{
		`[]`:                                 0,
		`[{"key":"AB","value":1}]`:           3,
		`[{"key":"é","value":"é"}]`:          6,
		`[{"key":"A","value":"\u00e9\/<"}]`:  1 + 2 + 2 + 1 + 1,
		`[{"key":"A","value":"\n\u0001\""}]`: 1 + 2 + 2 + 6 + 2,
		`[{"key":"A","value":{"a" : [1, true, null, false]},"init":true}]`: 1 + len(`{"a":[1,true,null,false]}`),
		`[{"key":"A","value":[]},{"key":"B","value":{}}]`:                  6,
	} {
		if got := parse(t, text).Size(); got != want {
			t.Errorf("%s measures %d, want %d", text, got, want)
		}
	}
}

func TestNothingPrintsAValue(t *testing.T) {
	l := parse(t, `[{"key":"A","value":"`+canary+`","x":"`+canary+`"}]`)
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, l), fmt.Sprintf(verb, l[0]), fmt.Sprintf(verb, &l[0]))
	}
	for _, v := range []any{l, l[0]} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(raw))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) {
			t.Errorf("a value is printed: %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"key":"A","value":{"a":[1e5,"\u00e9"]},"init":true,"encryption":null},{"key":"A","value":1,"x":2}]`))
	f.Add([]byte(`[{"key":"B"}]`))
	f.Add([]byte(`{"B":21}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := param.Parse(raw)
		if err != nil {
			return
		}
		again := parse(t, string(l.Encode()))
		if !again.Equal(l) || again.Size() != l.Size() {
			t.Errorf("%q changed on its way through", raw)
		}
		if len(l.Own(l)) != 0 || !l.With(l).Equal(l) || len(l.Missing(l)) != 0 || len(l.Without(l.Keys()...)) != 0 {
			t.Errorf("%q breaks the arithmetic of sets", raw)
		}
	})
}
