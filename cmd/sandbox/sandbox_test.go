package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestSandboxOnce runs the whole command on real parts.
func TestSandboxOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Vault and a database; left out by -short")
	}
	vaulttest.Run(t) // finds or builds a Vault, or skips with the remedy
	vaulttest.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-once"}, &stdout, &stderr)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout.String(), stderr.String())
	}
	out := stdout.String()
	for _, promise := range []string{"P1", "P2", "P3", "P4", "P6", "P7"} {
		if !strings.Contains(out, "ok    "+promise) {
			t.Errorf("%s is not reported as kept", promise)
		}
	}
	if strings.Contains(out, "FAIL") || strings.Contains(out, "\x1b[") {
		t.Errorf("failure or colours in the output of a pipe:\n%s", out)
	}
}

func TestHelpAndUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "-once") {
		t.Errorf("-h: code %d, output %q", code, stdout.String())
	}
	for _, args := range [][]string{{"-twice"}, {"now"}} {
		stderr.Reset()
		if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "-h") {
			t.Errorf("%v: code %d, error %q", args, code, stderr.String())
		}
	}
}

// TestHintsReadKeysFromFiles: the commands to copy hold no key, and work.
func TestHintsReadKeysFromFiles(t *testing.T) {
	got := make(chan string, 2)
	front := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.URL.Path + " " + r.Header.Get("X-Vault-Token") + r.Header.Get("Authorization")
	}))
	defer front.Close()
	var out bytes.Buffer
	dir := t.TempDir()
	s := &sandbox{dir: dir, cfg: &config.Config{Path: filepath.Join(dir, "rotator.yaml")}, out: newPrinter(&out), ow: &openwhisk{url: front.URL, emulator: whisktest.New(whisktest.Options{})},
		vault: &vaultSide{Server: &vaulttest.Server{Address: front.URL, RootToken: "root-canary"}, own: true, kv: "secret"}}
	if err := os.WriteFile(filepath.Join(dir, "openwhisk.auth"), []byte("user:key-canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.hints(); err != nil || strings.Contains(out.String(), "canary") {
		t.Fatalf("%v: %s", err, out.String())
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	want := []string{"/v1/secret/data/checkout root-canary", "/api/v1/namespaces/_/actions/shop/checkout Basic " + base64.StdEncoding.EncodeToString([]byte("user:key-canary"))}
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "curl") {
			continue
		}
		if text, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", line, err, text)
		}
		if is := <-got; is != want[0] {
			t.Errorf("%s: asked for %s", line, is)
		}
		want = want[1:]
	}
	if len(want) > 0 {
		t.Errorf("not asked: %v", want)
	}
}

func TestKeepRefusesADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rotator.yaml", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-once", "-keep", dir}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "not empty") {
		t.Errorf("code %d, error %q", code, stderr.String())
	}
	if got, err := os.ReadFile(dir + "/rotator.yaml"); err != nil || string(got) != "mine" {
		t.Errorf("the file was changed: %q, %v", got, err)
	}
}

func TestSearchFindsEverySpelling(t *testing.T) {
	const value = "k3y/with+odd=chars"
	needles := []needle{{"the key", []byte(value)}}
	for _, text := range []string{"x" + value + "y", "a=k3y%2Fwith%2Bodd%3Dchars", base64.StdEncoding.EncodeToString([]byte(value)), "6b33792f776974682b6f64643d6368617273"} {
		if got := search(needles, map[string][]byte{"log": []byte(text)}); len(got) != 1 || strings.Contains(got[0], value) {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got := search(needles, map[string][]byte{"log": []byte("nothing here")}); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}

func TestCompareCallsEveryLoss(t *testing.T) {
	params := whisktest.Params
	was := entity{own: params(`[{"key":"A","value":1},{"key":"B","value":2,"init":true},{"key":"C","value":3}]`), notes: map[string]json.RawMessage{"team": json.RawMessage(`"x"`)}}
	for name, c := range map[string]struct {
		own, note string
		faults    int
	}{
		"rotated":       {`[{"key":"A","value":9},{"key":"B","value":2,"init":true},{"key":"C","value":3}]`, `"x"`, 0},
		"lost":          {`[{"key":"A","value":9},{"key":"B","value":2,"init":true}]`, `"x"`, 1},
		"mark lost":     {`[{"key":"A","value":9},{"key":"B","value":2},{"key":"C","value":3}]`, `"x"`, 1},
		"foreign value": {`[{"key":"A","value":9},{"key":"B","value":2,"init":true},{"key":"C","value":4}]`, `"x"`, 1},
		"copied down":   {`[{"key":"A","value":9},{"key":"B","value":2,"init":true},{"key":"C","value":3},{"key":"D","value":3}]`, `"x"`, 1},
		"note changed":  {`[{"key":"A","value":9},{"key":"B","value":2,"init":true},{"key":"C","value":3}]`, `"y"`, 1},
	} {
		is := entity{own: params(c.own), notes: map[string]json.RawMessage{"team": json.RawMessage(c.note)}}
		if got := compare(was, is, []string{"A"}); len(got) != c.faults {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOrderCallsEarlyRevocation(t *testing.T) {
	now := time.Now()
	good := make(map[string]time.Time)
	for i, name := range stepOrder {
		good[name] = now.Add(time.Duration(i) * time.Second)
	}
	b := &bundle{name: "checkout"}
	s := &sandbox{shop: &shop{}}
	faults := func(overlap time.Duration, change func(steps map[string]time.Time)) int {
		steps := make(map[string]time.Time)
		for k, v := range good {
			steps[k] = v
		}
		change(steps)
		r := &round{bundles: []*bundle{b}, overlap: overlap, receipts: map[string]rotator.Receipt{"checkout": {Result: "rotated", Steps: steps}}}
		return len(r.order(s, b))
	}
	if n := faults(time.Second, func(map[string]time.Time) {}); n != 0 {
		t.Errorf("a good rotation has %d faults", n)
	}
	if faults(time.Minute, func(map[string]time.Time) {}) == 0 {
		t.Error("a short overlap is not seen")
	}
	if faults(0, func(m map[string]time.Time) { m["revoked"] = m["staged"] }) == 0 {
		t.Error("an early revocation is not seen")
	}
	if faults(0, func(m map[string]time.Time) { delete(m, "proven-dead") }) == 0 {
		t.Error("a missing proof is not seen")
	}
	if faults(time.Second, func(m map[string]time.Time) { delete(m, "verified") }) == 0 {
		t.Error("a missing verification is not seen")
	}
}

func TestRotatedAgainSeesEveryTrace(t *testing.T) {
	before := count{record: rotator.Record{State: rotator.Idle, Generation: 1}, version: 2, secretIDs: []string{"a"}}
	if faults := rotatedAgain(before, before); len(faults) != 0 {
		t.Errorf("nothing happened: %v", faults)
	}
	for name, change := range map[string]func(*count){
		"generation":       func(c *count) { c.record.Generation++ },
		"running":          func(c *count) { c.record.State = rotator.Claimed },
		"waiting":          func(c *count) { c.record.Queue = make([]rotator.Waiting, 1) },
		"version":          func(c *count) { c.version++ },
		"other credential": func(c *count) { c.secretIDs = []string{"b"} },
	} {
		after := before
		change(&after)
		if len(rotatedAgain(before, after)) == 0 {
			t.Errorf("%s is not seen", name)
		}
	}
}
