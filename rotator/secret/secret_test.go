package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

const canary = "CANARY-1c9e"

// printed shows a value in every way that a program shows values.
func printed(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%10.3v"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	raw, err := json.Marshal(v)
	fmt.Fprintln(&b, string(raw), err)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	zl := zerolog.New(&b)
	zl.Info().Interface("v", v).Any("w", v).Msgf("%v", v)
	fmt.Fprintln(&b, fmt.Errorf("wrapped %v: %w", v, errors.New("x")))
	return b.String()
}

func TestNothingPrintsAValue(t *testing.T) {
	v := FromText(canary)
	type holder struct {
		Exported Value
		hidden   Value
		inMap    map[string]Value
		inSlice  []Value
		pointer  *Value
	}
	for name, x := range map[string]any{
		"value": v, "pointer": &v, "set": Set{"k": v}, "slice": []Value{v},
		"struct": holder{v, v, map[string]Value{"k": v}, []Value{v}, &v}, "error text": fmt.Errorf("reading: %v", v),
	} {
		if out := printed(t, x); strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s prints the value: %s", name, out)
		}
	}
	if text, ok := v.Text(); !ok || text != canary {
		t.Error("Text must return the value: it is the way out")
	}
}

func TestErrorsHoldNoInput(t *testing.T) {
	_, err := FromJSON([]byte(`{"password": ` + canary))
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
}

func TestEqualIsJSON(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{`1e2`, `100`, true}, {`100.0`, `100`, true}, {`-0`, `0`, true}, {`1e999999999999`, `1e999999999998`, false},
		{`12345678901234567890`, `12345678901234567891`, false}, {`0.1`, `0.10`, true}, {`10`, `1`, false}, {`-5`, `5`, false},
		{`{"a":1,"b":[1,2]}`, `{"b":[1.0,2],"a":1}`, true}, {`[1,2]`, `[2,1]`, false}, {`"1"`, `1`, false}, {`"\u0041"`, `"A"`, true}, {`null`, `""`, false},
	} {
		a, b := parse(t, tc.a), parse(t, tc.b)
		if a.Equal(b) != tc.want || b.Equal(a) != tc.want {
			t.Errorf("%s == %s: want %v", tc.a, tc.b, tc.want)
		}
	}
}

func parse(t *testing.T, s string) Value {
	t.Helper()
	v, err := FromJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBlank(t *testing.T) {
	for s, want := range map[string]bool{`null`: true, `""`: true, `" \n"`: true, `"x"`: false, `0`: false, `false`: false, `{}`: false} {
		if got := parse(t, s).Blank(); got != want {
			t.Errorf("%s: blank %v, want %v", s, got, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	key, err := NewKey("k1", bytes.Repeat([]byte{7}, MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewKey("k2", bytes.Repeat([]byte{8}, MinKeyBytes))
	v := FromText("hunter2")
	if key.Fingerprint(v) == other.Fingerprint(v) || key.Fingerprint(v) == key.Fingerprint(FromText("hunter3")) {
		t.Error("a fingerprint must depend on key and value")
	}
	// echo -n hunter2 | sha256sum, sha1sum
	for alg, digest := range map[string]string{
		"sha256": "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7", "sha1": "f3bbbd66a63d4bf1747940578ec3d0103530e21d", "hmac-sha256": key.Fingerprint(v),
	} {
		if !key.Matches(alg, digest, v) || key.Matches(alg, digest, FromText("other")) {
			t.Errorf("%s does not decide", alg)
		}
	}
	if key.Matches("md5", "", v) {
		t.Error("an unknown algorithm matches nothing")
	}
	if _, err := NewKey("short", []byte("short")); !errors.Is(err, ErrShortKey) {
		t.Errorf("short key: %v", err)
	}
	a, b := Set{"a": FromText("1"), "b": FromText("2")}, Set{"a": FromText("1"), "b": FromText("3")}
	if key.FingerprintSet(a) == key.FingerprintSet(b) || key.FingerprintSet(a) != key.FingerprintSet(Set{"b": FromText("2"), "a": FromText("1")}) {
		t.Error("a set's fingerprint covers its values, not their order")
	}
}

func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{`1`, `"x"`, `{"a":[1,null]}`, `1e400`, ` "pad" `, `{`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := FromJSON([]byte(s))
		if err != nil {
			return
		}
		if !v.Equal(v) || !json.Valid(v.Reveal()) {
			t.Error("a value must equal itself and reveal JSON")
		}
	})
}

// TestGitGuardiansHash: the vector is Python's hashlib.scrypt with the parameters that ggshield uses.
func TestGitGuardiansHash(t *testing.T) {
	k, err := NewKey("k", make([]byte, MinKeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	const sum = "0b73cc0a45723b0bace08e269ca0837ccfdfa58d6d1ab67b174abac29cbebb00"
	for range 2 { // the second time from memory
		if !k.Matches("gg-hmsl", sum, FromText("correct horse")) || k.Matches("gg-hmsl", sum, FromText("correct house")) {
			t.Error("another hash")
		}
	}
	if (Key{}).Matches("gg-hmsl", sum, FromText("correct horse")) || (Key{}).Matches("gg-hmsl", "", FromText("x")) {
		t.Error("no key matches")
	}
}
