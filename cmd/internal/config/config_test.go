package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// bare is a machine with these variables and nothing else.
func bare(vars map[string]string) Machine {
	return Machine{Env: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}
}

func TestExampleLoads(t *testing.T) {
	c, err := Parse("rotator.yaml", []byte(Example()), bare(map[string]string{"LAB_AUTH": "set"}))
	if err != nil {
		t.Fatalf("the example has problems:\n%v", err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("the example has warnings:\n%v", c.Warnings)
	}
	if len(c.Bundles) != 2 || len(c.Hosts) != 2 || len(c.Bundles["checkout"].Targets) != 4 {
		t.Errorf("the example was not read in full: %d bundles, %d hosts", len(c.Bundles), len(c.Hosts))
	}
}

// Every testdata file is named after what is wrong with it; what is said about it stands beside it.
func TestEveryMistakeIsNamed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(filepath.Base(path), data, bare(map[string]string{"WHISK_AUTH": "set"}))
			said := ""
			if err != nil {
				said = err.Error() + "\n"
			} else if len(c.Warnings) > 0 {
				said = c.Warnings.Error() + "\n"
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", said)
			if said == "" {
				t.Error("nothing is said about this file")
			}
			for _, secret := range []string{"hunter2", "hvs.", "123zO3xZ"} {
				if strings.Contains(said, secret) {
					t.Errorf("a secret is repeated: %s", said)
				}
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("said something else than %s (-want +got):\n%s", path, diff)
	}
}
