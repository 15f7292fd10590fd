package main

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// docker runs the command line of a container engine. Without one the test is skipped, but not in CI.
func docker(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", args...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func needImage(t *testing.T) string {
	t.Helper()
	image := cmp.Or(os.Getenv("ROTATOR_TEST_IMAGE_ROTATOR"), "rotator")
	if out, err := docker(t, "image", "inspect", image); err != nil {
		need(t, "no image "+image+" (docker compose build makes it): "+out)
	}
	return image
}

func need(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// TestImage: small, not root, no shell, and it works on a read-only file system without any capability.
func TestImage(t *testing.T) {
	image := needImage(t)
	out, err := docker(t, "image", "inspect", image)
	var got []struct {
		Size   int
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || len(got) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	if c := got[0].Config; got[0].Size > 40e6 || c.User != "65532:65532" || strings.Join(c.Entrypoint, " ") != "/rotator" {
		t.Errorf("%d bytes, user %q, entrypoint %v", got[0].Size, c.User, c.Entrypoint)
	}
	version := got[0].Config.Labels["org.opencontainers.image.version"]
	if _, ok := got[0].Config.Labels["org.opencontainers.image.revision"]; !ok || version == "" {
		t.Errorf("labels %v", got[0].Config.Labels)
	}
	hard := []string{"run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", "--security-opt", "no-new-privileges"}
	if out, err := docker(t, append(hard, image, "--version")...); err != nil || out != "rotator version "+version {
		t.Errorf("%v: %s", err, out)
	}
	for _, shell := range []string{"/bin/sh", "sh", "/busybox/sh"} {
		if out, err := docker(t, append(hard, "--entrypoint", shell, image, "-c", "true")...); err == nil {
			t.Errorf("there is a shell: %s", out)
		}
	}
	files := filepath.Join(t.TempDir(), "image.tar")
	id, err := docker(t, "create", image)
	if err != nil {
		t.Fatal(id)
	}
	defer func() { _, _ = docker(t, "rm", id) }()
	if out, err := docker(t, "export", "-o", files, id); err != nil {
		t.Fatal(out)
	}
	list, err := exec.Command("tar", "-tf", files).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		ours := name == "rotator" || strings.HasPrefix(name, "etc/ssl/") || strings.HasSuffix(name, "/")
		engine := strings.HasPrefix(name, "dev/") || name == ".dockerenv" || name == "etc/hosts" || name == "etc/hostname" || name == "etc/resolv.conf" || name == "etc/mtab"
		if !ours && !engine {
			t.Errorf("the image holds %s", name)
		}
	}
}

// TestComposeFile needs no engine: what is published is published on this machine only, and Vault's banner with its keys goes nowhere.
func TestComposeFile(t *testing.T) {
	raw, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Ports      []string
			Entrypoint []string
		}
	}
	if err := yaml.Unmarshal(raw, &compose); err != nil {
		t.Fatal(err)
	}
	published := 0
	for name, s := range compose.Services {
		for _, p := range s.Ports {
			published++
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s", name, p)
			}
		}
	}
	if vault := compose.Services["vault"].Entrypoint; published != 3 || len(vault) != 3 || !strings.HasSuffix(vault[2], ">/dev/null") {
		t.Errorf("%d ports are published; Vault starts with %q", published, vault)
	}
}

// TestCompose: a fresh "up" reaches a finished rotation, prints no secret, and "down -v" leaves nothing.
func TestCompose(t *testing.T) {
	needImage(t)
	compose := []string{"docker-compose"}
	if _, err := exec.LookPath(compose[0]); err != nil {
		compose = []string{"docker", "compose"}
		if _, err := docker(t, "compose", "version"); err != nil {
			need(t, "neither docker-compose nor docker compose is there")
		}
	}
	project := "rotatortest" + strings.ToLower(t.Name()[4:])
	run := func(args ...string) (string, error) {
		args = append(compose[1:], append([]string{"-p", project, "-f", "../../compose.yaml"}, args...)...)
		out, err := exec.Command(compose[0], args...).CombinedOutput()
		return string(out), err
	}
	defer func() { _, _ = run("down", "-v") }()
	for _, name := range []string{"ROTATOR_PORT", "VAULT_PORT", "NATS_PORT"} {
		t.Setenv(name, strconv.Itoa(freePort(t)))
	}
	if out, err := run("up", "-d", "--no-build"); err != nil {
		logs, _ := run("logs")
		t.Fatalf("%v: %s\n%s", err, out, logs)
	}
	leak, err := run("ps", "-q", "leak")
	if err != nil {
		t.Fatal(leak)
	}
	if code, err := docker(t, "wait", strings.TrimSpace(leak)); err != nil || code != "0" {
		t.Errorf("the leak ended with %s, %v", code, err)
	}
	logs, err := run("logs")
	if err != nil || !strings.Contains(logs, "rotated") || !strings.Contains(logs, "1 -> 2") {
		t.Errorf("%v: %s", err, logs)
	}
	secret, err := exec.Command(compose[0], append(compose[1:], "-p", project, "-f", "../../compose.yaml", "exec", "-T", "-e", "VAULT_TOKEN=only-for-the-demo", "vault",
		"vault", "kv", "get", "-field=DB_PASSWORD", "secret/shop")...).Output()
	if err != nil || len(secret) < 10 {
		t.Errorf("the secret cannot be read: %v %d bytes", err, len(secret))
	} else if strings.Contains(logs, strings.TrimSpace(string(secret))) {
		t.Error("P7: the output of compose holds the new password")
	}
	for _, told := range []string{"Unseal Key", "Root Token", "hvs.", "only-for-the-demo"} {
		if strings.Contains(logs, told) {
			t.Errorf("the output of compose holds %q", told)
		}
	}
	for service, port := range map[string]string{"rotator": "9180", "vault": "8200", "nats": "4222"} {
		if out, err := run("port", service, port); err != nil || !strings.HasPrefix(out, "127.0.0.1:") {
			t.Errorf("%s is published on %s, %v", service, out, err)
		}
	}
	began := time.Now()
	if out, err := run("stop", "rotator"); err != nil || time.Since(began) > 35*time.Second {
		t.Errorf("stopping took %s: %v %s", time.Since(began), err, out)
	}
	if out, err := run("down", "-v"); err != nil {
		t.Fatal(out)
	}
	for _, kind := range []string{"container", "volume", "network"} {
		flags := []string{kind, "ls", "-q", "--filter", "label=com.docker.compose.project=" + project}
		if kind == "container" {
			flags = append(flags, "-a")
		}
		if out, err := docker(t, flags...); err != nil || out != "" {
			t.Errorf("%ss are left: %s, %v", kind, out, err)
		}
	}
}
