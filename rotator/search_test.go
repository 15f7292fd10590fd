package rotator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// spellings are the ways in which a value is bound. exact: its fingerprint is enough to find it.
func spellings() map[string]struct {
	exact bool
	how   string // is in what is said of it
	make  func(value string) any
} {
	type spelling = struct {
		exact bool
		how   string
		make  func(value string) any
	}
	object := func(value string) string {
		raw, _ := json.MarshalIndent(map[string]any{"db": []any{1, map[string]string{"password": value}}}, "", "   ")
		return string(raw)
	}
	escaped := func(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }
	return map[string]spelling{
		"itself":            {true, "", func(v string) any { return v }},
		"a member":          {true, "", func(v string) any { return map[string]any{"a": []any{true, nil, v}} }},
		"a name":            {true, "name of a member", func(v string) any { return map[string]any{v: 1} }},
		"a new line behind": {true, "white space", func(v string) any { return v + "\r\n" }},
		"JSON in a text":    {true, "JSON", func(v string) any { return object(v) }},
		"JSON in it, twice": {true, "JSON", func(v string) any { return string(secret.FromText(object(v)).Reveal()) }},
		"a password":        {true, "password of a URL", func(v string) any { return "jdbc:postgresql://app:" + escaped(v) + "@db:5432/shop?ssl=true" }},
		"a password, as it is": {true, "password of a URL", func(v string) any {
			return "mongodb://app:" + v + "@a:1,b:2/shop"
		}},
		"a user":            {true, "user of a URL", func(v string) any { return "https://" + escaped(v) + "@host/" }},
		"a query":           {true, `query "key" of a URL`, func(v string) any { return "see https://host/hook?a=b&key=" + url.QueryEscape(v) }},
		"base64":            {true, "base64", func(v string) any { return base64.StdEncoding.EncodeToString([]byte(v)) }},
		"base64 for URLs":   {true, "base64", func(v string) any { return base64.RawURLEncoding.EncodeToString([]byte(v + "\n")) }},
		"percent-encoded":   {true, "", func(v string) any { return url.PathEscape(v) }},
		"a longer text":     {false, "longer text", func(v string) any { return "host=db password=" + v + " port=1" }},
		"quoted in a text":  {false, "longer text", func(v string) any { return "config = " + object(v) }},
		"Basic":             {false, "base64", func(v string) any { return "Basic " + base64.StdEncoding.EncodeToString([]byte("app:"+v)) }},
		"base64 of two":     {false, "base64", func(v string) any { return "x " + base64.URLEncoding.EncodeToString([]byte("ab"+v+"cd")) }},
		"encoded in a text": {false, "", func(v string) any { return "a=b&password=" + url.QueryEscape(v) + "&c=d" }},
		"everything at once": {false, "base64", func(v string) any {
			return map[string]any{"x": base64.StdEncoding.EncodeToString([]byte("X " + object(v)))}
		}},
	}
}

// TestEverySpelling: a value is found however it is bound, by itself and - where it can be told apart - by its fingerprint; another
// value is not; and nothing that is said holds it.
func TestEverySpelling(t *testing.T) {
	key := must(secret.NewKey("k", []byte(strings.Repeat("k", secret.MinKeyBytes))))
	print := func(v string) Sought {
		return Prints(key, []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "other", Value: key.Fingerprint(secret.FromText(v))}},
			[]events.Fingerprint{{Alg: "sha256", Value: strings.Repeat("0", 64)}, {Alg: "hmac-sha256", KeyID: "k", Value: key.Fingerprint(secret.FromText(v))}})
	}
	for _, value := range []string{"kH7-canary", "p@ss/w+rd=%41?&#:end", `with "quotes" \ and spaces`, "-----BEGIN KEY-----\nMII\nB==\n-----END KEY-----", "Grüße-an-alle", "48151623"} {
		for name, s := range spellings() {
			if strings.ContainsAny(value, " \n\"") && name == "a password, as it is" {
				continue // nobody can tell where that ends
			}
			v := must(secret.FromJSON(must(json.Marshal(s.make(value)))))
			for by, found := range map[string][]finding{"value": within(v, Known(secret.FromText(value))), "print": within(v, print(value))} {
				if by == "print" && !s.exact {
					continue
				}
				ok := slices.ContainsFunc(found, func(f finding) bool {
					return (strings.Contains(f.how, s.how) || value == "48151623") && f.which == map[string]int{"value": 0, "print": 1}[by]
				})
				if !ok || strings.Contains(fmt.Sprintf("%+v", found), value) {
					t.Errorf("%q as %s, by %s: %+v", value, name, by, found)
				}
			}
			for by, found := range map[string][]finding{"value": within(v, Known(secret.FromText(value+"x"))), "print": within(v, print(value+"x"))} {
				if len(found) > 0 {
					t.Errorf("%q as %s, by %s: another value was found: %+v", value, name, by, found)
				}
			}
		}
	}
}

// TestNumbersAndObjects: what is the same as JSON is found, whatever it looks like.
func TestNumbersAndObjects(t *testing.T) {
	key := must(secret.NewKey("k", []byte(strings.Repeat("k", secret.MinKeyBytes))))
	for _, c := range []struct {
		bound, value string
		found        bool
	}{
		{`48151623`, `48151623`, true}, {`4.8151623e7`, `48151623`, true}, {`"48151623"`, `48151623`, true}, {`{"pin":48151623.0}`, `48151623`, true}, {`481516230`, `48151623`, false},
		{`{"a":1,"b":[2,"x"]}`, `{ "b": [2.0, "x"], "a": 1 }`, true}, {`"{\"b\":[2,\"x\"],\"a\":1}"`, `{"a":1,"b":[2,"x"]}`, true}, {`{"c":{"b":[2,"x"],"a":1}}`, `{"a":1,"b":[2,"x"]}`, true},
		{`{"a":1,"b":[2,"y"]}`, `{"a":1,"b":[2,"x"]}`, false}, {`"short"`, `short`, true}, {`"a short text"`, `short`, false}, {`1e999999999`, `1`, false}, {`{"":"kept-value"}`, "kept-value", true},
	} {
		bound := must(secret.FromJSON([]byte(c.bound)))
		if found := within(bound, Known(secret.FromText(c.value))); (len(found) > 0) != c.found {
			t.Errorf("%s in %s: %+v", c.value, c.bound, found)
		}
		v := secret.FromText(c.value) // and by the fingerprint of what a detector has seen
		if strings.HasPrefix(c.value, "{") {
			v = must(secret.FromJSON([]byte(c.value)))
		}
		found := within(bound, Prints(key, []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "k", Value: key.Fingerprint(v)}}))
		if (len(found) > 0) != c.found {
			t.Errorf("print of %s in %s: %+v", c.value, c.bound, found)
		}
	}
}

// asked counts what is compared.
type asked struct{ n, bytes int }

func (a *asked) is(v secret.Value) []int { a.n++; a.bytes += v.Len(); return nil }
func (a *asked) part(string) string      { return "" }

// TestAHostileValue does not keep a search busy.
func TestAHostileValue(t *testing.T) {
	for _, unit := range []string{"x://a:b@", "x://a:x://b:c@d?x=y://z&q=", "%2525", `{"a":`, `"`, "://@:", "QUFB", "1e9"} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		for _, v := range []secret.Value{secret.FromText(text), secret.FromText("x://u:p@h/?a=" + url.QueryEscape(text)), secret.FromText(string(secret.FromText(text).Reveal()))} {
			a := new(asked)
			within(v, a)
			if a.n > 10*mostPieces || a.bytes > 300<<20 {
				t.Errorf("%q: %d comparisons, %d bytes", unit, a.n, a.bytes)
			}
		}
	}
}

// searched is what a Search reads in these tests: several hosts, any of which may be away.
type searched struct {
	hostOf
	away     map[string]error // lists of a host
	broken   map[Ref]error    // entities
	provider map[Ref]string
	gets     int
	listed   map[string]int // times, by host
}

// gone makes a host stop answering, or come back.
func (s *searched) gone(host string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away[host] = err
}

func (s *searched) Rows(ctx context.Context, host string, kind Kind) (out []Row, err error) {
	s.mu.Lock()
	err = s.away[host]
	if kind == Package && s.listed != nil {
		s.listed[host]++
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	rows, err := s.hostOf.Rows(ctx, host, kind)
	for _, r := range rows {
		ref := Ref{Host: host, Kind: kind, Name: r.Name}
		if s.exists(ref) {
			r.Provider = s.provider[ref]
			out = append(out, r)
		}
	}
	return out, err
}

func (s *searched) Bindings(_ context.Context, r Ref) (param.List, []Annotation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if err := s.broken[r]; err != nil {
		return nil, nil, err
	}
	return s.targets[r].obs.Parameters, s.targets[r].obs.Annotations, nil
}

func (s *searched) exists(r Ref) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.targets[r] != nil }

// put makes an entity.
func (s *searched) put(ref Ref, ps param.List, as ...Annotation) Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[ref] = &targetState{obs: Observed{Ref: ref, Parameters: ps, Annotations: as}}
	return ref
}

func texts(kv ...string) (l param.List) {
	for i := 0; i < len(kv); i += 2 {
		l = append(l, param.Entry{Key: kv[i], Value: secret.FromText(kv[i+1])})
	}
	return l
}

// TestHiddenValues: a host that does not show values is never a clean no. What an annotation says of a version that is in Vault counts.
func TestHiddenValues(t *testing.T) {
	w := newWorld(t)
	b := w.shop("a", 0)
	dark := func(name string) Ref { return Ref{Host: "dark", Kind: Action, Name: name} }
	s := &searched{hostOf: hostOf{w}}
	p := &ports{world: w}
	key := must(p.Key(t.Context()))
	target := Target{Ref: dark("ours"), Rename: map[string]string{"PASSWORD": "PW"}}
	b.Targets = []Target{target, {Ref: dark("stale")}}
	stamped := func(t Target, version int) Annotation {
		return Annotation{AnnotationKey, must(json.Marshal(map[string]Stamp{"a": stampFor(key, t, w.secrets["secret/a"][version-1].Set, "r", version), "unknown": {Version: 3}}))}
	}
	w.secrets["secret/a"] = append(w.secrets["secret/a"], Snapshot{Version: 2, Set: secret.Set{"PASSWORD": secret.FromText(canary + "-second")}})
	hash := texts("PW", "9f86d0", "PASSWORD", "9f86d0", "SMTP", "00")
	s.put(dark("ours"), hash, stamped(target, 1))
	s.put(dark("new"), hash, stamped(Target{}, 2))
	s.put(dark("stale"), hash, stamped(target, 1))
	s.put(dark("other"), hash)
	s.put(dark("empty"), nil)
	s.put(dark("note"), nil, Annotation{"require-whisk-auth", secret.FromText(canary + "-a-first").Reveal()})
	s.put(Ref{Host: "clear", Kind: Action, Name: "locked"}, param.List{{Key: "K", Value: secret.FromText("AAAA"), Encryption: "aes-128"}})
	s.put(Ref{Host: "clear", Kind: Action, Name: "open"}, texts("K", "v"))
	search := Search{Entities: s, Hosts: []string{"dark", "clear"}, Hides: map[string]bool{"dark": true}, Bundles: map[string]Bundle{"a": b}, Secrets: p, Parallel: 3}
	found := search.Run(t.Context(), Known(secret.FromText(canary+"-a-first")))
	var got []string
	for _, p := range found.Places {
		got = append(got, p.String()+"; "+p.Remedy())
	}
	want := []string{
		"bound on dark action note as annotation require-whisk-auth; no bundle delivers it: replace it by hand",
		"bound on dark action ours as parameter PW, by its annotation: KV version 1 of a; a rotation of a replaces it",
		"bound on dark action stale as parameter PASSWORD, by its annotation: KV version 1 of a, delivered otherwise than configured now; a rotation of a replaces it",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if !slices.Equal(found.Hidden, []Hidden{{"clear", 1}, {"dark", 2}}) || len(found.Unread) > 0 || found.Searched != 8 {
		t.Errorf("%+v", found)
	}
	if n := w.calls["kv read"]; n != 2 {
		t.Errorf("%d reads of 2 versions", n)
	}
	p.outage = map[string]error{"kv read": ErrUnavailable}
	if found := search.Run(t.Context(), Known(secret.FromText(canary+"-a-first"))); len(found.Places) != 1 || len(found.Unread) != 3 || found.Hidden[1] != (Hidden{"dark", 4}) {
		t.Errorf("without Vault: %+v", found)
	}
}

// TestAHostThatIsAway is named, and holds up neither the others nor the search.
func TestAHostThatIsAway(t *testing.T) {
	w := newWorld(t)
	away := fmt.Errorf("no route: %w", ErrUnavailable)
	s := &searched{hostOf: hostOf{w}, away: map[string]error{"b": away}, broken: make(map[Ref]error)}
	s.put(Ref{Host: "a", Kind: Action, Name: "one"}, texts("K", "leaked-value"))
	s.broken[s.put(Ref{Host: "a", Kind: Action, Name: "two"}, nil)] = fmt.Errorf("403: %w", ErrPermanent)
	s.broken[s.put(Ref{Host: "a", Kind: Action, Name: "gone"}, nil)] = ErrNotFound
	for i := range 500 {
		s.broken[s.put(Ref{Host: "c", Kind: Trigger, Name: fmt.Sprint(i)}, nil)] = away
	}
	var last int
	search := Search{Entities: s, Hosts: []string{"a", "b", "c"}, Parallel: 4, Progress: func(done, _ int) { last = done }}
	found := search.Run(t.Context(), Known(secret.FromText("leaked-value")))
	text := strings.Join(found.Unread, "\n")
	for _, want := range []string{"host b: its packages cannot be listed: no route", "a action two: 403", "of its entities were not read: it does not answer"} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if len(found.Places) != 1 || found.Searched != 2 || s.gets > 3+deaf+4 || last != s.gets {
		t.Errorf("%d requests, %d of them told; %d places, %d searched", s.gets, last, len(found.Places), found.Searched)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found := search.Run(ctx, Known(secret.FromText("leaked-value"))); len(found.Places) > 0 || !strings.Contains(strings.Join(found.Unread, "\n"), "host a: 3 of its entities were not read: the time was up") {
		t.Errorf("%+v", found)
	}
}

// TestWhichPlacesARotationReplaces: the bundle has to have the target, deliver the parameter, and change it.
func TestWhichPlacesARotationReplaces(t *testing.T) {
	w := newWorld(t)
	s := &searched{hostOf: hostOf{w}, provider: make(map[Ref]string)}
	b := Bundle{Name: "a", Credentials: []Credential{{Keys: map[string]string{"password": "PW"}}}, Compose: map[string]Template{
		"URL": must(ParseTemplate("x://{{PW}}")), "DEEP": must(ParseTemplate("{{URL}}!")), "FIX": must(ParseTemplate("{{SMTP}}"))}}
	at := func(kind Kind, name string) Ref { return Ref{Host: "h", Kind: kind, Name: name} }
	b.Targets = []Target{{Ref: at(Action, "all")}, {Ref: at(Action, "some"), Keys: []string{"URL"}, Rename: map[string]string{"URL": "LINK"}}, {Ref: at(Package, "pkg")}}
	list := texts("PW", "the-leaked-value", "URL", "x://the-leaked-value", "LINK", "the-leaked-value", "DEEP", "the-leaked-value", "SMTP", "the-leaked-value", "FIX", "the-leaked-value")
	s.put(at(Action, "all"), list)
	s.put(at(Action, "some"), list)
	s.put(at(Action, "none"), list[:1])
	s.put(at(Package, "pkg"), list[:1])
	s.put(at(Package, "plain"), list[:1])
	s.put(at(Action, "pkg/inherits"), list[:1])
	s.provider[s.put(at(Package, "bound"), list[:2])] = "pkg"
	s.provider[s.put(at(Package, "bound2"), list[:1])] = "plain"
	found := Search{Entities: s, Hosts: []string{"h"}, Bundles: map[string]Bundle{"a": b}}.Run(t.Context(), Known(secret.FromText("the-leaked-value")))
	var got []string
	for _, p := range found.Places {
		got = append(got, fmt.Sprintf("%s %s%s: %s", p.Target.Name, p.Parameter, map[bool]string{true: " of " + p.From}[p.Inherited], p.Remedy()))
	}
	const by, hand, none = "a rotation of a replaces it", "target of a, but no rotation replaces this: replace it by hand", "no bundle delivers it: replace it by hand"
	want := []string{
		"bound PW of pkg: " + by, "bound URL: " + none, "bound2 PW of plain: see package plain", "pkg PW: " + by, "plain PW: " + none,
		"all DEEP: " + by, "all FIX: " + hand, "all LINK: " + hand, "all PW: " + by, "all SMTP: " + hand, "all URL: " + by, "none PW: " + none, "pkg/inherits PW of pkg: " + by,
		"some DEEP: " + hand, "some FIX: " + hand, "some LINK: " + by, "some PW: " + hand, "some SMTP: " + hand, "some URL: " + hand,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// TestWhatBundlesKeep: a value that is only a part of what a bundle holds, which no fingerprint tells.
func TestWhatBundlesKeep(t *testing.T) {
	w := newWorld(t)
	a, b := w.shop("a", 0), w.shop("b", 0)
	w.secrets["secret/a"][0].Set["LINK"] = secret.FromText("https://u:inside-of-it@host/")
	w.secrets["secret/b"] = nil
	p := Preview{Bundles: map[string]Bundle{"a": a, "b": b}, Secrets: &ports{world: w}}
	kept, unread := p.Keeps(t.Context(), Known(secret.FromText("inside-of-it")))
	if len(unread) > 0 || !slices.Equal(kept, []Kept{{Bundle: "a", Key: "LINK", How: "the password of a URL"}}) {
		t.Errorf("%+v %v", kept, unread)
	}
	if kept, _ := p.Keeps(t.Context(), Known(secret.FromText(canary+"-a-first"))); len(kept) != 1 || !kept[0].Changes {
		t.Errorf("%+v", kept)
	}
	w.outage = map[string]error{"kv read": errors.New("sealed")}
	if _, unread := p.Keeps(t.Context(), Known(secret.FromText("x"))); len(unread) != 2 || !strings.Contains(unread[0], "bundle a: sealed") {
		t.Error(unread)
	}
}
