package rotator

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/openwhisk-rotator/rotator"

// TestArrows pins which package may import which.
func TestArrows(t *testing.T) {
	root := ".."
	checked := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			target, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			checked++
			if why := forbidden(filepath.ToSlash(rel), target, strings.HasSuffix(file, "_test.go")); why != "" {
				t.Errorf("%s imports %s: %s", file, target, why)
			}
		}
		return nil
	})
	if err != nil || checked < 100 {
		t.Fatalf("checked %d imports: %v", checked, err)
	}
}

// forbidden says why a file of the folder must not import target, or "".
func forbidden(folder, target string, test bool) string {
	ours, isOurs := strings.CutPrefix(target, module+"/")
	switch {
	case isOurs && strings.HasSuffix(ours, "test") && !test && !strings.HasPrefix(folder, "cmd/sandbox") && !strings.HasPrefix(folder, path.Dir(ours)+"/"+path.Base(ours)):
		return "only tests and cmd/sandbox import test packages"
	case strings.HasPrefix(target, "github.com/hashicorp/vault/api") && !strings.HasPrefix(folder, "vaultsrc"):
		return "vaultsrc is the only importer of vault/api"
	case test:
		return ""
	case folder == "events" && (isOurs || strings.Contains(target, "nats")):
		return "events is the wire contract: no NATS, nothing of ours"
	case strings.HasPrefix(folder, "events/") && isOurs && !strings.HasPrefix(ours, "events"):
		return "events/stream knows events only"
	case folder == "rotator" && (strings.Contains(target, "nats-io") || strings.HasPrefix(ours, "vaultsrc") || ours == "rotator/whisk" || ours == "events/stream"):
		return "the core knows its own small interfaces only"
	case folder == "vaultsrc" && isOurs && ours != "rotator/secret":
		return "vaultsrc knows rotator/secret only"
	case isOurs && strings.HasPrefix(ours, "cmd/") && !strings.HasPrefix(folder, "cmd/"):
		return "nothing imports cmd"
	}
	return ""
}
