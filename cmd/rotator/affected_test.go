package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestAffected: what a leak or a leaver affects, by each way of saying it, with evidence and without the value.
func TestAffected(t *testing.T) {
	path, host := site(t)
	leaked, _ := stored(t, path).Set["SECRET_ID"].Text()
	host.Action("other", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"CONFIG","value":{"login":["` + leaked + `"]}}]`)})
	write := func(name, body string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fp := func() string {
		_, out, _ := callIn(t, leaked+"\n", "fingerprint", "-c", path)
		return strings.TrimSpace(out)
	}()
	both := []string{"the fingerprint is that of SECRET_ID", "lab action app", "as parameter SECRET_ID; a rotation of app replaces it", "bound on lab action other as parameter CONFIG, inside at login[0]; no bundle delivers it: replace it by hand", "2 places of 2"}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  []string
	}{
		"a holder":         {[]string{"--person", "Alice@Example.com"}, "", exitOK, []string{"holder alice@example.com", "lab action app"}},
		"a stranger":       {[]string{"--person", "bob"}, "", exitFailed, []string{"No bundle is affected"}},
		"a fingerprint":    {[]string{"--fingerprint", fp}, "", exitOK, both},
		"a value":          {[]string{"--value-file", "-"}, leaked + "\n", exitOK, both},
		"only the bundle":  {[]string{"--value-file", "-", "--no-search"}, leaked, exitOK, both[:2]},
		"a value of none":  {[]string{"--value-file", write("v", "nothing of ours")}, "", exitFailed, []string{"No bundle", "0 places of 2"}},
		"no value":         {[]string{"--value-file", "-"}, "\n", exitUsage, []string{"must hold one value"}},
		"an event":         {[]string{"--event", write("e", `{"specversion":"1.0","id":"1","source":"urn:x","type":"rotator.credential.leaked.v1","time":"2026-01-01T00:00:00Z","data":{"credential":{"name":"app"},"severity":"high","reason":"committed","upstream":{"system":"x"}}}`)}, "", exitOK, []string{"named in the event"}},
		"no event":         {[]string{"--event", "-"}, "{}", exitUsage, []string{"specversion"}},
		"a native message": {[]string{"--event", "-", "--source", "google"}, `{"id":{"time":"2025-01-01T00:00:00Z"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"alice@example.com"}]}]}`, exitOK, []string{"holder"}},
		"the wrong kind":   {[]string{"--event", "-", "--source", "google"}, `{"id":{"time":"2025-01-01T00:00:00Z"},"events":[{"name":"UNSUSPEND_USER"}]}`, exitFailed, []string{"rotates nothing: UNSUSPEND_USER"}},
		"an unknown kind":  {[]string{"--event", "-", "--source", "nope"}, `{}`, exitUsage, []string{"unknown source"}},
		"nothing asked":    {nil, "", exitUsage, []string{"at least one"}},
		"too much asked":   {[]string{"--person", "a", "--fingerprint", fp}, "", exitUsage, []string{"none of the others"}},
	} {
		code, out, errs := callIn(t, c.stdin, append([]string{"affected", "-c", path}, c.args...)...)
		if code != c.code || strings.Contains(out+errs, leaked) {
			t.Errorf("%s: %d, want %d: %s%s", name, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s: not told: %q\n%s%s", name, want, out, errs)
			}
		}
	}
	code, out, _ := callIn(t, leaked, "affected", "-c", path, "--value-file", "-", "-o", "json")
	var got affected
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || len(got.Bundles) != 1 || len(got.Places) != 2 || got.Searched != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

// callIn is one call of the program with this standard input.
func callIn(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// change rewrites the configuration of a site.
func change(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%v: no %q in the configuration", err, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAffectedIsNoCleanNo: a host that is away and one that hides values do not hold up the answer, and do not make a no of it.
func TestAffectedIsNoCleanNo(t *testing.T) {
	path, host := site(t)
	leaked, _ := stored(t, path).Set["SECRET_ID"].Text()
	ask := func(value string) (int, affected, string) {
		code, out, errs := callIn(t, value, "affected", "-c", path, "--value-file", "-", "-o", "json")
		var got affected
		if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Contains(out+errs, value) {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		var text strings.Builder // as without -o json
		got.write(&text)
		return code, got, text.String()
	}
	dark := whisktest.New(whisktest.Options{Encryption: whisktest.Hidden})
	dark.Action("who-knows", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"x"}]`)})
	srv := httptest.NewServer(dark)
	defer srv.Close()
	change(t, path, "openwhisk: {", fmt.Sprintf("openwhisk: {dark: {apihost: %q, namespace: guest, auth_file: key, hides_values: true}, ", srv.URL))
	const hides = "1 entities of host dark could not be compared: it hides values"
	if code, got, text := ask("nothing of ours"); code != exitRemote || len(got.Hidden) != 1 || !strings.Contains(text, hides) || !strings.Contains(text, "INCOMPLETE") {
		t.Errorf("nothing, and a host hides: %d %+v\n%s", code, got, text)
	}
	if code, got, text := ask(leaked); code != exitOK || len(got.Bundles) != 1 || len(got.Places) != 1 || !strings.Contains(text, hides) {
		t.Errorf("found, and a host hides: %d %+v\n%s", code, got, text)
	}
	host.Action("copy", whisktest.Seed{Parameters: whisktest.Params(fmt.Sprintf(`[{"key":"URL","value":"https://u:%s@h/"}]`, leaked))})
	change(t, path, "vault: {address: \"", "vault: {address: \"http://127.0.0.1:1\", auth: {method: token, token_file: token}, fingerprint_key: kv/fp}\n#")
	if code, got, text := ask(leaked); code != exitRemote || len(got.Places) != 2 || len(got.Bundles) > 0 || len(got.Incomplete) < 2 || !strings.Contains(text, "Not asked:") {
		t.Errorf("Vault is away: %d %+v\n%s", code, got, text)
	}
	change(t, path, "vault: {address: \"http://127.0.0.1:1\", auth: {method: token, token_file: token}, fingerprint_key: kv/fp}\n#", "vault: {address: \"")
	host.Delete("actions", "copy")
	srv.Close()
	for value, found := range map[string]int{leaked: 1, "nothing of ours": 0} {
		code, got, text := ask(value)
		if code != exitRemote || len(got.Bundles) != found || len(got.Places) != found || got.Searched != 1 || len(got.Unread) != 1 || !strings.Contains(text, "could not be read: host dark: its packages cannot be listed") {
			t.Errorf("a host is away: %d %+v\n%s", code, got, text)
		}
	}
}

// TestAffectedByAPart: what only the value itself shows. The service, which has a fingerprint, would not find the bundle.
func TestAffectedByAPart(t *testing.T) {
	path, _ := site(t)
	cfg, err := config.Load(path, config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	p, err := service.Preview(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s := stored(t, path)
	s.Set["LINK"] = secret.FromText("https://app:only-a-part@db/")
	if _, err := p.Secrets.Write(t.Context(), cfg.Bundles["app"].Secret, s); err != nil {
		t.Fatal(err)
	}
	code, out, errs := callIn(t, "only-a-part\n", "affected", "-c", path, "--value-file", "-")
	for _, want := range []string{"LINK holds it the password of a URL", "the service does not find it by the fingerprint; name it: rotator emit leak --bundle app", "no rotation mints LINK: change it in Vault by hand"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d, not told: %s in\n%s%s", code, want, out, errs)
		}
	}
}

// TestAffectedSaysWhatTheServiceDoes with an event, by its rules and bounds.
func TestAffectedSaysWhatTheServiceDoes(t *testing.T) {
	path, _ := site(t)
	change(t, path, "bundles:", `events: {max_bundles: 50, rules: [{source: noisy, do: report}, {severity: low, do: approve}, {publisher: hr, do: report}]}
people: {mounts: [token2], disable: true}
bundles:`)
	event := func(kind, data string) string {
		return `{"specversion":"1.0","id":"1","source":"urn:x","type":"rotator.` + kind + `.v1","time":"2026-01-01T00:00:00Z","data":` + data + `}`
	}
	leak := func(credential, severity, system string) string {
		return event("credential.leaked", fmt.Sprintf(`{"credential":%s,"severity":%q,"reason":"committed","upstream":{"system":%q}}`, credential, severity, system))
	}
	leaves := func(email, more string) string {
		return event("principal.offboarded", `{"person":{"identifiers":[{"format":"email","email":"`+email+`"}]},"change":"terminated","severity":"high","reason":"left","upstream":{"system":"hr"}`+more+`}`)
	}
	for name, c := range map[string]struct {
		event string
		args  []string
		want  []string
		not   string
	}{
		"rotated":       {leak(`{"name":"app"}`, "high", "x"), nil, []string{"Event urn:x 1 (leak, high) is rotated", "give --publisher", "more than 199 rotations"}, "logins"},
		"held":          {leak(`{"name":"app"}`, "low", "x"), nil, []string{"waits for approval: rule 2 for events says approve"}, ""},
		"reported":      {leak(`{"name":"app"}`, "high", "noisy"), nil, []string{"is only reported: rule 1 for events says report"}, ""},
		"by publisher":  {leaves("alice@example.com", ""), []string{"--publisher", "hr"}, []string{"is only reported: rule 3"}, "logins"},
		"unmatched":     {leak(`{"name":"nope"}`, "high", "x"), nil, []string{"rotates nothing: no bundle matches the event by its name", "remedy  name a bundle of the configuration"}, "logins"},
		"later":         {leaves("alice@example.com", `,"effective_at":"2126-05-01T00:00:00Z"`), nil, []string{"is rotated", "from    2126-0", "logins  ended in Vault: alice@example.com"}, ""},
		"only a login":  {leaves("bob@example.com", ""), nil, []string{"rotates nothing", "logins  ended in Vault: bob@example.com"}, ""},
		"who is nobody": {leaves("bob@example.com", ""), nil, []string{"Not asked:", `there is no auth mount "token2"`}, "Vault knows"},
	} {
		_, out, errs := callIn(t, c.event, append([]string{"affected", "-c", path, "--event", "-", "--no-search"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) || c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("%s: not told: %q, or told: %q\n%s%s", name, want, c.not, out, errs)
			}
		}
	}
}

// TestAffectedTellsATypo from somebody who has no access.
func TestAffectedTellsATypo(t *testing.T) {
	path, _ := site(t)
	v := vaulttest.Run(t)
	mount := vaulttest.Name("staff")
	if err := v.EnableAuth(t.Context(), mount, "userpass"); err != nil {
		t.Fatal(err)
	}
	v.Must(t, http.MethodPost, "auth/"+mount+"/users/erin", map[string]any{"password": "pw"})
	auth, _ := v.Must(t, http.MethodPost, "auth/"+mount+"/login/erin", map[string]any{"password": "pw"})["auth"].(map[string]any) // makes the entity
	change(t, path, "bundles:", "people: {mounts: [{path: "+mount+", local: true}], disable: true}\nbundles:")
	for name, want := range map[string]string{"erin@example.com": "Vault knows erin on " + mount + ": entity entity_", "eirn@example.com": "Vault knows nobody of this name on " + mount} {
		if code, out, errs := callIn(t, "", "affected", "-c", path, "--person", name); code != exitFailed || !strings.Contains(out, want) || !strings.Contains(out, "people.probe_role") {
			t.Errorf("%s: %d %s%s", name, code, out, errs)
		}
	}
	v.Must(t, http.MethodPost, fmt.Sprint("identity/entity/id/", auth["entity_id"]), map[string]any{"disabled": true})
	if _, out, _ := callIn(t, "", "affected", "-c", path, "--person", "erin@example.com"); !strings.Contains(out, ", disabled") {
		t.Errorf("who cannot log in any more: %s", out)
	}
}
