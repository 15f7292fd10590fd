package vaultsrc

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

func TestBundleKeepsBytesVersionsAndMarker(t *testing.T) {
	f := newFixture(t, false)
	c, path := f.client, f.path("shop")
	raw := map[string]string{
		"INT": "9007199254740991", "EXP": "1e2", "FLOAT": "1.50", "NULL": "null", "BOOL": "false",
		"HTML": `"<a&b>\u2028"`, "OBJ": `{"z":1,"a":[1.0,true,{"<":"&"}]}`,
	}
	first := secret.Set{}
	for k, v := range raw {
		value, err := secret.FromJSON([]byte(v))
		if err != nil {
			t.Fatal(err)
		}
		first[k] = value
	}
	v1, err := c.WriteBundle(t.Context(), path, first, []byte(`{"rotation":"r1"}`), 0)
	if err != nil || v1 != 1 {
		t.Fatalf("first write: version %d, %v", v1, err)
	}
	if v2, err := c.WriteBundle(t.Context(), path, set("ONLY", "x"), nil, v1); err != nil || v2 != 2 {
		t.Fatalf("second write: version %d, %v", v2, err)
	}
	b, err := c.ReadBundle(t.Context(), path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.Version != 1 || b.Created.IsZero() || len(b.Data) != len(raw) {
		t.Fatalf("version %d, created %v, %d keys", b.Version, b.Created, len(b.Data))
	}
	for k, want := range raw {
		if !b.Data[k].Equal(first[k]) {
			t.Errorf("%s: written %s, read %s", k, want, b.Data[k].Reveal())
		}
	}
	if got := string(b.Data["INT"].Reveal()); got != raw["INT"] {
		t.Errorf("a number was read as %s, want %s", got, raw["INT"])
	}
	if string(b.Marker) != `{"rotation":"r1"}` {
		t.Errorf("marker %s", b.Marker)
	}
	newest, err := c.ReadBundle(t.Context(), path, 0)
	if err != nil || newest.Version != 2 || newest.Marker != nil || len(newest.Data) != 1 {
		t.Errorf("newest: version %d, marker %s, %d keys, %v", newest.Version, newest.Marker, len(newest.Data), err)
	}
}

func TestNumbersThatVaultWouldRoundAreRefused(t *testing.T) {
	f := newFixture(t, false)
	for _, raw := range []string{"12345678901234567890", `{"a":[0.12345678901234567890123]}`, "1e999"} {
		v, err := secret.FromJSON([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.client.WriteBundle(t.Context(), f.path("n"), secret.Set{"BIG": v}, nil, 0)
		if !errors.Is(err, ErrInvalid) || !contains(err.Error(), `"BIG"`) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	// The reason: Vault itself says that all is well, and answers another number.
	f.vault.Must(t, http.MethodPost, f.kv+"/data/n", map[string]any{"data": map[string]any{"N": json.Number("12345678901234567890")}})
	b, err := f.client.ReadBundle(t.Context(), f.path("n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b.Data["N"].Reveal()); got == "12345678901234567890" {
		t.Error("Vault keeps big numbers now: the refusal is not needed any more")
	}
}

func TestBundleErrors(t *testing.T) {
	f := newFixture(t, false)
	c, path, ctx := f.client, f.path("shop"), t.Context()
	if _, err := c.ReadBundle(ctx, path, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := c.WriteBundle(ctx, path, set("A", "1"), nil, 0); err != nil {
		t.Fatal(err)
	}
	for name, cas := range map[string]int{"must not exist": 0, "stale": 7} {
		if _, err := c.WriteBundle(ctx, path, set("A", "2"), nil, cas); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.ReadBundle(ctx, path, 9); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing version: %v", err)
	}
	for name, d := range map[string]secret.Set{"reserved key": set(MarkerKey, "x"), "empty": {}} {
		if _, err := c.WriteBundle(ctx, path, d, nil, 1); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.ReadBundle(ctx, "nomount", 0); !errors.Is(err, ErrInvalid) {
		t.Errorf("path without mount: %v", err)
	}
	f.vault.Must(t, http.MethodDelete, f.kv+"/data/shop", nil)
	if b, err := c.ReadBundle(ctx, path, 0); !errors.Is(err, ErrDeleted) || errors.Is(err, ErrNotFound) || b.Version != 1 {
		t.Errorf("deleted head: version %d, %v", b.Version, err)
	}
	if v, err := c.WriteBundle(ctx, path, set("A", "2"), nil, 1); err != nil || v != 2 {
		t.Errorf("over a deleted head: version %d, %v", v, err)
	}
	f.vault.Must(t, http.MethodPut, f.kv+"/destroy/shop", map[string]any{"versions": []int{1}})
	if _, err := c.ReadBundle(ctx, path, 1); !errors.Is(err, ErrDeleted) {
		t.Errorf("destroyed: %v", err)
	}
}

func TestForbiddenNamesPathAndCapability(t *testing.T) {
	f := newFixture(t, false)
	_, err := f.client.ReadBundle(t.Context(), "elsewhere/shop", 0)
	if !errors.Is(err, ErrForbidden) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{`"read"`, `"elsewhere/data/shop"`} {
		if !contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

// TestForbiddenToCreate: where update is allowed and nothing is there, it is create that the policy lacks.
func TestForbiddenToCreate(t *testing.T) {
	f := newFixture(t, false)
	policy := f.vault.Policy(t, `path "`+f.kv+`/data/shop" { capabilities = ["read", "update"] }`)
	f.role(t, "updater", map[string]any{"token_policies": []string{policy}, "token_ttl": "1h"})
	f.cfg.Auth = f.auth(t, "updater")
	c, err := New(t.Context(), f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteBundle(t.Context(), f.path("shop"), set("A", "1"), nil, 0); !errors.Is(err, ErrForbidden) || !contains(err.Error(), `needs capability "create" on "`+f.kv+`/data/shop"`) {
		t.Errorf("nothing is there: %v", err)
	}
	if v, err := f.client.WriteBundle(t.Context(), f.path("shop"), set("A", "1"), nil, 0); err != nil || v != 1 {
		t.Fatal(err)
	}
	f.vault.Must(t, http.MethodDelete, f.kv+"/data/shop", nil)
	if v, err := c.WriteBundle(t.Context(), f.path("shop"), set("A", "2"), nil, 1); err != nil || v != 2 {
		t.Errorf("over a deleted version, which is there for Vault: version %d, %v", v, err)
	}
	if _, err := c.WriteBundle(t.Context(), f.path("other"), set("A", "2"), nil, 3); !errors.Is(err, ErrForbidden) || !contains(err.Error(), `"update"`) {
		t.Errorf("over a version: %v", err)
	}
}

func TestFingerprintKeyIsMadeOnce(t *testing.T) {
	f := newFixture(t, false)
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() {
			k, err := f.client.FingerprintKey(t.Context(), f.path("rotator-key"))
			if err != nil {
				t.Error(err)
			}
			ids <- k.ID() + k.Fingerprint(secret.FromText("x"))
		}()
	}
	first := <-ids
	for range cap(ids) - 1 {
		if next := <-ids; next != first || first == "" {
			t.Error("two replicas got two keys")
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	for _, s := range []string{
		`{"data":{"data":{"A":"x","_rotator":{"rotation":"r"}},"metadata":{"version":3,"created_time":"2026-01-02T03:04:05Z"}}}`,
		`{"data":{"data":null,"metadata":{"version":3,"deletion_time":"2026-01-02T03:04:05Z"}}}`,
		`{"errors":[]}`, `{"data":{"data":{},"metadata":{"version":-1}}}`, `null`, ``, `[1]`, `{"data":{"data":{"a":}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := parseBundle(raw)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrDeleted) {
				t.Fatalf("an error of no class: %v", err)
			}
			return
		}
		if b.Version < 1 || b.Data == nil {
			t.Fatalf("accepted version %d with data %v", b.Version, b.Data)
		}
		if _, ok := b.Data[MarkerKey]; ok {
			t.Fatal("the marker is among the data")
		}
		if len(b.Data) == 0 {
			return
		}
		for _, v := range b.Data {
			if !survives(v) {
				return // refused on purpose
			}
		}
		if _, err := encodeBundle(b.Data, b.Marker, b.Version); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
