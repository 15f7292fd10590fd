package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
)

// manifest is what the checks below look at; everything else is carried by the maps.
type manifest struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     map[string]any
}

func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	raw, err := os.ReadFile("deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]manifest)
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var m manifest
		if err := d.Decode(&m); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out[m.Kind] = m
	}
}

// at walks down maps and lists.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				t.Fatalf("no element %d of %v", s, path)
			}
			v = l[s]
		}
	}
	return v
}

func TestKubernetesManifest(t *testing.T) {
	all := manifests(t)
	strictly(t)
	d := all["Deployment"].Spec
	pod := []any{"template", "spec"}
	container := append(pod, "containers", 0)
	for _, want := range []struct {
		path []any
		is   any
	}{
		{[]any{"replicas"}, 3},
		{append(pod, "securityContext", "runAsNonRoot"), true}, {append(pod, "automountServiceAccountToken"), false},
		{append(container, "securityContext", "readOnlyRootFilesystem"), true}, {append(container, "securityContext", "allowPrivilegeEscalation"), false},
		{append(container, "securityContext", "capabilities", "drop", 0), "ALL"},
		{append(container, "livenessProbe", "httpGet", "path"), "/healthz"}, {append(container, "readinessProbe", "httpGet", "path"), "/readyz"}, {append(container, "startupProbe", "httpGet", "path"), "/healthz"},
	} {
		if got := at(t, d, want.path...); fmt.Sprint(got) != fmt.Sprint(want.is) {
			t.Errorf("%v is %v, want %v", want.path, got, want.is)
		}
	}
	if got := at(t, all["PodDisruptionBudget"].Spec, "minAvailable"); fmt.Sprint(got) != "2" {
		t.Errorf("minAvailable is %v", got)
	}
	for kind, m := range all {
		if m.Metadata.Namespace != "rotator" || kind == "Secret" {
			t.Errorf("%s in namespace %q", kind, m.Metadata.Namespace)
		}
	}
	grace, _ := strconv.Atoi(fmt.Sprint(at(t, d, append(pod, "terminationGracePeriodSeconds")...)))
	if time.Duration(grace)*time.Second < stopTime+10*time.Second {
		t.Errorf("grace of %d s, the program may take %v", grace, stopTime)
	}
	// The configuration in it is one that the program takes.
	file := filepath.Join(t.TempDir(), "rotator.yaml")
	if err := os.WriteFile(file, []byte(all["ConfigMap"].Data["rotator.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file, config.ThisMachine()); err != nil {
		t.Error(err)
	}
	args := at(t, d, append(container, "args")...)
	if root := rootCommand(); fmt.Sprint(args) != "[run -c /etc/rotator/rotator.yaml]" || root.Commands() == nil {
		t.Errorf("args are %v", args)
	}
	if kubectl, err := exec.LookPath("kubectl"); err == nil { // decodes with the types of the API, without a cluster
		out, err := exec.Command(kubectl, "label", "--local", "--dry-run=client", "-f", "deploy/kubernetes.yaml", "a=b", "-o", "name").CombinedOutput()
		if err != nil || strings.Count(string(out), "/rotator") != len(all) {
			t.Errorf("kubectl: %v: %s", err, out)
		}
	}
}

func TestSystemdUnit(t *testing.T) {
	raw, err := os.ReadFile("deploy/rotator.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ExecStart=/usr/local/bin/rotator run -c ", "DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "LoadCredential=", "LimitCORE=0",
		"MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service", "PrivateTmp=yes"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the unit lacks %q", want)
		}
	}
	kill := regexp.MustCompile(`(?m)^TimeoutStopSec=(\S+)$`).FindSubmatch(raw)
	if kill == nil {
		t.Fatal("the unit does not say when it is killed")
	}
	if grace, err := time.ParseDuration(string(kill[1])); err != nil || grace < stopTime+10*time.Second {
		t.Errorf("killed after %s, the program may take %v", kill[1], stopTime)
	}
	// The embedded server's directory is one that the unit may write: systemd tells it by STATE_DIRECTORY.
	setting := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindSubmatch(raw)
		if m == nil {
			t.Fatalf("the unit lacks %s", name)
		}
		return string(m[1])
	}
	_, path, _ := strings.Cut(setting("ExecStart"), " -c ")
	minimal := `{vault: {address: "https://v:8200", auth: {token_file: /t}}, openwhisk: {h: {apihost: "https://h", auth_file: /k}}, bundles: {b: {secret: kv/b, credentials: {c: {generate: {password_policy: p}, keys: {password: P}}}, targets: [{action: a}]}}}`
	for state, want := range map[string]string{"/var/lib/" + setting("StateDirectory"): "/var/lib/rotator", "/var/lib/one:/var/lib/two": "/var/lib/one", "": "/etc/rotator/rotator-data"} {
		cfg, err := config.Parse(path, []byte(minimal), config.Machine{Env: func(name string) (string, bool) { return state, name == "STATE_DIRECTORY" && state != "" }})
		if err != nil || cfg.Data != want {
			t.Fatalf("with STATE_DIRECTORY %q the data is in %+v, %v; want %s", state, cfg, err, want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "deploy/rotator.service").CombinedOutput()
	level := regexp.MustCompile(`exposure level for \S+ ([0-9.]+)`).FindSubmatch(out)
	if err != nil || level == nil {
		t.Fatalf("systemd-analyze: %v: %s", err, out)
	}
	if n, err := strconv.ParseFloat(string(level[1]), 64); err != nil || n > 2 {
		t.Errorf("exposure level %s, want at most 2", level[1])
	}
}

// TestReleaseBuildIsReproducible: the same source in two places, built with the flags of the release, gives the same bytes.
func TestReleaseBuildIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program twice; leave out -short")
	}
	raw, err := os.ReadFile("../../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{`"-trimpath", "-buildvcs=false"`, "-X main.stamped={{ .Tag }}", "goarch: [amd64, arm64]"} {
		if !strings.Contains(string(raw), flag) {
			t.Errorf(".goreleaser.yaml lacks %s", flag)
		}
	}
	var first []byte
	for i := range 2 {
		dir := t.TempDir()
		for _, name := range []string{"cmd", "events", "rotator", "vaultsrc"} {
			if err := os.CopyFS(filepath.Join(dir, name), os.DirFS("../../"+name)); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			content, err := os.ReadFile("../../" + name)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.stamped=v9.8.7", "-o", "out", "./cmd/rotator")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		program := filepath.Join(dir, "out")
		if out, err := exec.Command(program, "--version").Output(); err != nil || string(out) != "rotator version v9.8.7\n" {
			t.Errorf("%v: %s", err, out)
		}
		built, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = built
		} else if !bytes.Equal(first, built) {
			t.Error("two builds differ")
		}
	}
}
