// Package npmtest runs the real JavaScript clients of OpenWhisk - Adobe's command line and the openwhisk package - in tests.
//
// They are installed once, in fixed versions, below the user's cache. Where npm is missing the test is skipped; in CI it fails.
package npmtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// OpenWhisk is the version of the package openwhisk.
const OpenWhisk = "3.21.9"

// AIO installs Adobe's command line and returns its program.
func AIO(t *testing.T) string {
	t.Helper()
	return filepath.Join(Install(t, "@adobe/aio-cli", "11.1.2"), "node_modules", ".bin", "aio")
}

// Install gets a package of a fixed version once, below the user's cache, and returns its directory. Where node
// is missing the test is skipped, but not in CI.
func Install(t *testing.T, name, version string) string {
	t.Helper()
	program, err := exec.LookPath("npm")
	if err != nil {
		missing(t, "npm is not on PATH, so the real client "+name+" is not tested")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "no cache directory for npm packages: "+err.Error())
	}
	dir := filepath.Join(cache, "rotator-test", strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-")+"-"+version)
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if testing.Short() {
		t.Skip("installing " + name + " takes minutes; leave out -short")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	t.Logf("installing %s@%s once into the cache", name, version)
	cmd := exec.CommandContext(ctx, program, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", name+"@"+version)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm cannot install "+name+": "+err.Error()+": "+lastLine(out))
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// Run starts a program with an empty home, for the namespace guest of the host at address, and returns its standard output.
func Run(t *testing.T, address, key, program string, args ...string) []byte {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_DATA_HOME=" + home,
		"AIO_RUNTIME_APIHOST=" + address, "AIO_RUNTIME_AUTH=" + key, "AIO_RUNTIME_NAMESPACE=guest",
		"AIO_TELEMETRY_DISABLED=1", "DO_NOT_TRACK=1", "CI=1", "NO_COLOR=1",
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", filepath.Base(program), args, err, stdout.String(), stderr.String())
	}
	return stdout.Bytes()
}
