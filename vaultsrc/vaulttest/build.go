package vaulttest

import (
	"bufio"
	"context"
	_ "embed" // the recipe travels with the code
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Version is the Vault that is built when none is found: the newest that compiles from the module proxy.
const Version = "1.21.0"

//go:embed recipe/vault.mod.txt
var recipeMod []byte

//go:embed recipe/vault.sum.txt
var recipeSum []byte

const postgresPlugin = "postgresql-database-plugin"

// A binary is a vault program, and where its database plugins are; empty: they are built in.
type binary struct {
	path    string
	plugins string
}

func onPath() (binary, bool) {
	path, err := exec.LookPath("vault")
	return binary{path: path}, err == nil
}

// built returns the cached build and makes it first when there is none. A lock lets one process build and
// the others wait for it.
func built(ctx context.Context, progress func(string)) (binary, error) {
	dir, err := cacheDir()
	if err != nil {
		return binary{}, err
	}
	return buildIn(ctx, dir, progress)
}

// cached is an earlier build.
func cached() (binary, bool) {
	dir, err := cacheDir()
	if err != nil || !complete(dir) {
		return binary{}, false
	}
	return binary{path: filepath.Join(dir, exe("vault")), plugins: dir}, true
}

func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "rotator", fmt.Sprintf("vault-%s-%s-%s", Version, runtime.GOOS, runtime.GOARCH)), err
}

func buildIn(ctx context.Context, dir string, progress func(string)) (binary, error) {
	out := binary{path: filepath.Join(dir, exe("vault")), plugins: dir}
	if complete(dir) {
		return out, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return binary{}, errors.New("building needs Go on PATH")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return binary{}, err
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return binary{}, err
	}
	defer unlock()
	if complete(dir) { // somebody else built while we waited
		return out, nil
	}
	progress("building Vault " + Version + " from the Go module proxy: some minutes, only this once")
	return out, compile(ctx, dir, progress)
}

func complete(dir string) bool {
	for _, name := range []string{"vault", postgresPlugin} {
		if _, err := os.Stat(filepath.Join(dir, exe(name))); err != nil {
			return false
		}
	}
	return true
}

// compile builds both programs next to their place and renames them into it.
func compile(ctx context.Context, dir string, progress func(string)) error {
	work, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "go.mod"), recipeMod, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "go.sum"), recipeSum, 0o644); err != nil {
		return err
	}
	const module = "github.com/hashicorp/vault"
	packages := [][2]string{
		{"vault", module},
		{postgresPlugin, module + "/plugins/database/postgresql/postgresql-database-plugin"},
	}
	for _, p := range packages {
		if err := goBuild(ctx, work, exe(p[0]), p[1], progress); err != nil {
			return err
		}
	}
	for _, p := range packages {
		if err := os.Rename(filepath.Join(work, exe(p[0])), filepath.Join(dir, exe(p[0]))); err != nil {
			return err
		}
	}
	return nil
}

func goBuild(ctx context.Context, dir, out, pkg string, progress func(string)) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-mod=mod", "-tags", "minimal", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	last := follow(pipe, filepath.Base(pkg), progress)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, last)
	}
	return nil
}

// follow reports how many packages are compiled, every few seconds, and returns the last lines.
func follow(r io.Reader, what string, progress func(string)) string {
	var last []string
	count, next := 0, time.Now().Add(5*time.Second)
	for lines := bufio.NewScanner(r); lines.Scan(); count++ {
		last = append(last, lines.Text())
		last = last[max(0, len(last)-5):]
		if time.Now().After(next) {
			progress(fmt.Sprintf("building %s: %d steps done", what, count))
			next = time.Now().Add(5 * time.Second)
		}
	}
	return strings.Join(last, "; ")
}

func exe(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}
