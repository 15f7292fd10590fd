package rotator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const oldValue = "OLD-SECRET-VALUE"

func txt(s string) secret.Value { return secret.FromText(s) }

func entry(key, value string) param.Entry { return param.Entry{Key: key, Value: txt(value)} }

// fixture is a bundle with a package, an action inside it, and one outside.
func fixture() Facts {
	pkg := Ref{Host: "prod", Kind: Package, Name: "shop"}
	in := Ref{Host: "prod", Kind: Action, Name: "shop/pay"}
	out := Ref{Host: "prod", Kind: Action, Name: "mail"}
	inherited := param.List{entry("REGION", "eu"), entry("PASSWORD", oldValue)}
	b := Bundle{Name: "checkout", Secret: "secret/checkout",
		Credentials: []Credential{{Name: "db", Generate: Generator{Path: "database/creds/x"}, Keys: map[string]string{"password": "PASSWORD"}}},
		Targets:     []Target{{Ref: pkg}, {Ref: in}, {Ref: out}}}
	return Facts{
		Bundle: b, Base: Snapshot{Version: 3, Set: secret.Set{"PASSWORD": txt(oldValue)}}, Limits: map[string]Limits{"prod": {ParameterBytes: 1 << 20}},
		Sights: []Sight{
			{Target: b.Targets[0], Observed: Observed{Ref: pkg, Version: "0.0.7", Parameters: inherited, Annotations: []Annotation{{Key: "note", Value: json.RawMessage(`"keep"`)}}}},
			{Target: b.Targets[1], Observed: Observed{Ref: in, Version: "0.0.2", Inherited: inherited, Timeout: 3 * time.Minute,
				Parameters: param.List{entry("REGION", "eu"), entry("PASSWORD", oldValue), {Key: "SEED", Value: txt("s"), Init: true}, {Key: "LOCKED", Value: txt("c2Vj"), Encryption: "aes-128"}}}},
			{Target: b.Targets[2], Observed: Observed{Ref: out, Version: "0.0.1", Parameters: param.List{entry("PASSWORD", oldValue), entry("FROM", "me")}}},
		},
	}
}

func reasons(p Plan) (out []Reason) {
	for _, r := range p.Refusals {
		out = append(out, r.Reason)
	}
	return out
}

func TestPlanIsByName(t *testing.T) {
	p := Planned(fixture())
	if len(p.Refusals) > 0 {
		t.Fatal(p.Refusals)
	}
	want := []PlannedPut{
		{Target: Ref{"prod", Package, "shop"}, Version: "0.0.7", Rotates: []string{"PASSWORD"}, Carries: []string{"REGION"}},
		// PASSWORD is the package's: the action inherits the new one and must not get a copy of its own.
		{Target: Ref{"prod", Action, "shop/pay"}, Version: "0.0.2", Carries: []string{"LOCKED", "SEED"}, Inherits: []string{"PASSWORD"}},
		{Target: Ref{"prod", Action, "mail"}, Version: "0.0.1", Rotates: []string{"PASSWORD"}, Carries: []string{"FROM"}},
	}
	for i := range p.Targets {
		p.Targets[i].Bytes = 0
	}
	if d := cmp.Diff(want, p.Targets); d != "" {
		t.Error(d)
	}
	raw, err := json.Marshal(p)
	if err != nil || strings.Contains(string(raw), oldValue) {
		t.Errorf("the plan shows a value: %s %v", raw, err)
	}
}

func TestComposeKeepsMarksAndCopiesNothingDown(t *testing.T) {
	f := fixture()
	f.Sights = f.Sights[1:] // the package is no target now: the action needs the new value itself
	c := compose(f.Sights[0].Target, "checkout", secret.Set{"PASSWORD": txt("new")}, f.Sights[0].Observed, f.Sights[0].Observed.Inherited, Stamp{Rotation: "r"})
	want := param.List{{Key: "SEED", Value: txt("s"), Init: true}, {Key: "LOCKED", Value: txt("c2Vj"), Encryption: "aes-128"}, entry("PASSWORD", "new")}
	if !c.write.Parameters.Equal(want) {
		t.Errorf("keys %v, want %v: REGION is inherited and must stay so", c.write.Parameters.Keys(), want.Keys())
	}
	if len(c.write.Annotations) != 1 || c.write.Annotations[0].Key != AnnotationKey {
		t.Errorf("an action's annotations are merged by the host; sent %v", c.write.Annotations)
	}
	p := compose(Target{Ref: Ref{"prod", Package, "shop"}}, "checkout", secret.Set{"PASSWORD": txt("new")}, fixture().Sights[0].Observed, nil, Stamp{})
	if len(p.write.Annotations) != 2 || p.write.Annotations[0].Key != "note" {
		t.Errorf("a package's annotations are replaced by the host, so all go back; sent %v", p.write.Annotations)
	}
}

func TestBindingCopiesNothingOfItsProvider(t *testing.T) {
	ref := Ref{"prod", Package, "bound"}
	o := Observed{Ref: ref, Version: "0.0.1", Binding: true, Inherited: param.List{entry("A", "1"), entry("B", "2")}, Parameters: param.List{entry("A", "100"), entry("B", "2")}}
	c := compose(Target{Ref: ref, Keys: []string{"A"}}, "x", secret.Set{"A": txt("101"), "C": txt("9")}, o, o.Inherited, Stamp{})
	if want := (param.List{entry("A", "101")}); !c.write.Parameters.Equal(want) {
		t.Errorf("keys %v, want only A", c.write.Parameters.Keys())
	}
}

func TestInitStaysInit(t *testing.T) {
	ref := Ref{"prod", Action, "a"}
	o := Observed{Ref: ref, Version: "0.0.1", Parameters: param.List{{Key: "ENV", Value: txt(oldValue), Init: true}, entry("ARG", oldValue)}}
	c := compose(Target{Ref: ref, Init: []string{"NEW"}}, "x", secret.Set{"ENV": txt("1"), "ARG": txt("2"), "NEW": txt("3")}, o, nil, Stamp{})
	for name, want := range map[string]bool{"ENV": true, "ARG": false, "NEW": true} {
		if e, _ := c.write.Parameters.Get(name); e.Init != want {
			t.Errorf("%s: init %v, want %v", name, e.Init, want)
		}
	}
	if !c.init {
		t.Error("containers keep init parameters: this write must count as a fresh one")
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   Reason
	}{
		"missing action":       {func(f *Facts) { f.Sights[2].Err = ErrNotFound }, MissingTarget},
		"missing package":      {func(f *Facts) { f.Sights[0].Err = ErrNotFound }, MissingTarget},
		"no permission":        {func(f *Facts) { f.Sights[2].Err = fmt.Errorf("403: %w", ErrPermanent) }, NoPermission},
		"sequence":             {func(f *Facts) { f.Sights[2].Observed.Sequence = true }, SequenceTarget},
		"action below binding": {func(f *Facts) { f.Sights[1].Observed.BelowBinding = "ns/q" }, BelowBinding},
		"deprecated runtime":   {func(f *Facts) { f.Sights[2].Observed.Deprecated = "nodejs:10" }, OldRuntime},
		"too large":            {func(f *Facts) { f.Limits["prod"] = Limits{ParameterBytes: 20} }, TooLarge},
		"hidden values":        {func(f *Facts) { f.Limits["prod"] = Limits{HidesValues: true} }, KeysVanish},
		"empty value":          {func(f *Facts) { f.Base.Set["REGION2"] = txt(" ") }, BlankValue},
		"null value":           {func(f *Facts) { f.Base.Set["REGION2"] = secret.Value{} }, BlankValue},
		"no version":           {func(f *Facts) { f.Base = Snapshot{} }, MissingBundle},
		"nothing to mint":      {func(f *Facts) { f.Bundle.Credentials = nil }, NoCredential},
		"template without key": {func(f *Facts) { f.Bundle.Compose = map[string]Template{"URL": must(ParseTemplate("x{{NOPE}}"))} }, BadTemplate},
		"two keys become one": {func(f *Facts) {
			f.Base.Set["OTHER"] = txt("x")
			f.Sights[2].Target.Rename = map[string]string{"OTHER": "PASSWORD"}
		}, KeyCollision},
		"two bundles, same key": {func(f *Facts) {
			f.Neighbours = map[string]Neighbour{"b2": {Keys: []string{"PASSWORD"}, Targets: []Target{f.Bundle.Targets[2]}}}
		}, KeyCollision},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture()
			tc.change(&f)
			p := Planned(f)
			if !slices.Contains(reasons(p), tc.want) {
				t.Fatalf("refusals %v, want %s", p.Refusals, tc.want)
			}
			for _, r := range p.Refusals {
				if r.Text == "" || r.Remedy == "" {
					t.Errorf("refusal without text or remedy: %+v", r)
				}
				if strings.Contains(r.String(), oldValue) {
					t.Errorf("refusal shows a value: %s", r)
				}
			}
		})
	}
}

func TestHiddenValuesWithMarkOrInBundleAreFine(t *testing.T) {
	f := fixture()
	f.Limits["prod"] = Limits{HidesValues: true}
	f.Sights = f.Sights[1:2]
	f.Sights[0].Target.Remove = []string{"SEED"}
	if p := Planned(f); len(p.Refusals) > 0 {
		t.Errorf("LOCKED has its mark and SEED may go: %v", p.Refusals)
	}
}

func TestTwoBundlesOnOneAction(t *testing.T) {
	ref := Ref{"prod", Action, "a"}
	o := Observed{Ref: ref, Version: "0.0.1", Parameters: param.List{entry("ONE", "1"), entry("TWO", "2")},
		Annotations: []Annotation{{Key: AnnotationKey, Value: json.RawMessage(`{"second":{"rotation":"s","version":4,"fingerprint":"ff"}}`)}}}
	c := compose(Target{Ref: ref}, "first", secret.Set{"ONE": txt("11")}, o, nil, Stamp{Rotation: "f", Version: 2})
	if want := (param.List{entry("ONE", "11"), entry("TWO", "2")}); !c.write.Parameters.Equal(want) {
		t.Errorf("keys %v", c.write.Parameters.Keys())
	}
	got := stamps(c.write.Annotations)
	if got["second"].Version != 4 || got["first"].Version != 2 {
		t.Errorf("stamps %v, want both", got)
	}
}

func TestFollows(t *testing.T) {
	for _, tc := range []struct {
		before, after string
		want          bool
	}{{"0.0.1", "0.0.2", true}, {"0.0.9", "0.0.10", true}, {"0.0.1", "0.0.3", false}, {"0.0.1", "0.1.2", false}, {"", "0.0.1", false}, {"x", "x.1", false}} {
		if got := follows(tc.before, tc.after); got != tc.want {
			t.Errorf("follows(%q, %q) = %v", tc.before, tc.after, got)
		}
	}
}

func TestRecordStaysSmallEnoughForOneMessage(t *testing.T) {
	r := Record{Bundle: "b", State: Idle}
	for i := range 100 {
		receipt := Receipt{Rotation: fmt.Sprint("r", i), Result: "rotated"}
		for j := range 2000 {
			receipt.Targets = append(receipt.Targets, TargetState{Ref: Ref{"prod", Action, fmt.Sprintf("package/some-action-%d", j)}, Before: "0.0.1", After: "0.0.2"})
		}
		r.remember(receipt)
	}
	raw, err := r.Encode()
	if err != nil || len(raw) > maxRecord || len(r.History) != maxHistory {
		t.Errorf("%d bytes, %d receipts, %v", len(raw), len(r.History), err)
	}
	if last := r.Last(); last.Rotation != "r99" || len(last.Targets) != 2000 {
		t.Error("the newest receipt must keep its targets")
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{"", "{{A}}", "a{{A|url}}b", "{{A", "}}", "{{A|nope}}", "{{ A | base64 }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := ParseTemplate(s)
		if err != nil {
			return
		}
		set := make(secret.Set)
		for _, key := range tpl.Keys() {
			set[key] = txt("v")
		}
		if _, err := tpl.Render(set); err != nil {
			t.Errorf("a parsed template with all its keys must render: %v", err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	raw, err := Record{Bundle: "b", State: Idle}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"v":2,"bundle":"b","state":"idle"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRecord(raw)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeRecord(again); err != nil {
			t.Errorf("what was read cannot be written and read again: %v", err)
		}
	})
}
