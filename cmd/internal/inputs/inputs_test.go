package inputs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/param"
)

func reveal(l param.List) string {
	out := make(map[string]json.RawMessage)
	for _, e := range l {
		out[e.Key] = e.Value.Reveal()
	}
	raw, _ := json.Marshal(out)
	return string(raw)
}

func TestArgument(t *testing.T) {
	for text, want := range map[string]string{
		"plain": `"plain"`, "": `""`, "123": `"123"`, "null": `"null"`, "true": `true`, "false": `false`, "True": `"True"`, `{"a": [1]}`: `{"a": [1]}`,
		"[1,2]": `[1,2]`, "{broken": `"{broken"`, `say "hi"`: `"say \"hi\""`, "-----BEGIN\nx\n": `"-----BEGIN\nx\n"`, `"quoted"`: `"\"quoted\""`, "[12345678901234567890]": `[12345678901234567890]`,
	} {
		e, err := Argument("K", text)
		if err != nil || string(e.Value.Reveal()) != want {
			t.Errorf("%q: %s, %v, want %s", text, e.Value.Reveal(), err, want)
		}
	}
	for _, bad := range [][2]string{{"", "x"}, {"K", "\xff"}, {"\xff", "x"}} {
		if _, err := Argument(bad[0], bad[1]); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestObject(t *testing.T) {
	l, err := Object([]byte(`{"A": "x", "B": 12345678901234567890, "C": {"d": null}, "E": ""}`))
	if want := `{"A":"x","B":12345678901234567890,"C":{"d":null},"E":""}`; err != nil || reveal(l) != want {
		t.Errorf("%s, %v", reveal(l), err)
	}
	for text, want := range map[string]string{
		"": "is empty", "[]": "is no JSON object", `{"A": 1, "A": 2}`: `"A" is given twice`, `{"A": 1`: "ends too early, in line 1", "{\n \"A\": canary}": "in line 2, column",
		`{"A": 1}{}`: "more than one", `{"A": 1} canary`: "more than one", `{"": 1}`: "empty name", "{\"A\": \"\xff\"}": "not UTF-8", `"canary"`: "is no JSON object", `{"A": "canary`: "ends too early", `{"canary`: "ends too early",
	} {
		_, err := Object([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestDotEnv(t *testing.T) {
	file := "# a comment\n\nexport A=plain  # why\nB='single $quoted # \\n'\n C = \"two\\nlines\"\r\nPEM=\"-----BEGIN X-----\nabc=\n-----END X-----\n\"\nEMPTY=\nD=pa$$wo'rd\nE=`it's \"both\"`\nLAST=end"
	l, err := DotEnv([]byte(file))
	want := map[string]string{"A": "plain", "B": `single $quoted # \n`, "C": "two\nlines", "PEM": "-----BEGIN X-----\nabc=\n-----END X-----\n", "EMPTY": "", "D": "pa$$wo'rd", "E": `it's "both"`, "LAST": "end"}
	if err != nil || len(l) != len(want) {
		t.Fatalf("%v, %v", l.Keys(), err)
	}
	for key, text := range want {
		e, _ := l.Get(key)
		if got, _ := e.Value.Text(); got != text {
			t.Errorf("%s is %q, want %q", key, got, text)
		}
	}
	for text, want := range map[string]string{"A=1\nA=2": "lines 1 and 2", "A=1\ncanary": "line 2", "A=\"canary": "line 1", "\n\n=canary": "line 3", "A='x' canary": "line 1", "A=\xff": "UTF-8"} {
		if _, err := DotEnv([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestEnvFile(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nB='{}'": `{"A":"1","B":"{}"}`, "\n {\"A\": 1}": `{"A":1}`, "": "{}", "A={\"b\":1}": `{"A":"{\"b\":1}"}`,
	} {
		if l, err := EnvFile([]byte(text)); err != nil || reveal(l) != want {
			t.Errorf("%q: %s, %v", text, reveal(l), err)
		}
	}
	for text, want := range map[string]string{"{\"A\": canary": "no valid JSON", "[1]": "is no JSON object", "canary": "no KEY=VALUE"} {
		if _, err := EnvFile([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestText(t *testing.T) {
	for _, text := range []string{"", "true\n", "-----BEGIN X-----\r\nab==\r\n-----END X-----\n", `{"a": 1}`} {
		e, err := Text("K", []byte(text))
		if got, ok := e.Value.Text(); err != nil || !ok || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
	for _, bad := range [][2]string{{"", "canary"}, {"K", "canary\xff"}} {
		if _, err := Text(bad[0], []byte(bad[1])); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestSettings: what is no assignment is skipped, also within quotes, and the last of several wins.
func TestSettings(t *testing.T) {
	got := Settings([]byte("# A=0\nnonsense\nA=1\nM=\"x\nA=2\n\"\nexport B='b'\nB=c # d\n"))
	if len(got) != 3 || got["A"] != "1" || got["B"] != "c" || got["M"] != "x\nA=2\n" {
		t.Errorf("%q", got)
	}
}

// FuzzInputs: whatever is read comes back as valid JSON under unique names, and no error repeats the input.
func FuzzInputs(f *testing.F) {
	f.Add([]byte(`{"A": 1}`))
	f.Add([]byte("A='x\ny' # z\nB=\"q\\n\""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, read := range map[string]func([]byte) (param.List, error){"object": Object, "dotenv": DotEnv, "env file": EnvFile} {
			l, err := read(raw)
			seen := make(map[string]bool)
			for _, e := range l {
				if seen[e.Key] || e.Key == "" || !json.Valid(e.Value.Reveal()) {
					t.Errorf("%s: entry %q", name, e.Key)
				}
				seen[e.Key] = true
			}
			for key := range Settings(raw) {
				if !seen[key] && name == "dotenv" && err == nil {
					t.Errorf("the setting %q is no parameter", key)
				}
			}
			if err != nil && l != nil {
				t.Errorf("%s: an error and %d entries", name, len(l))
			}
		}
	})
}
