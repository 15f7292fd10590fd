package vaulttest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// spy is a TB that notes how it was ended.
type spy struct {
	TB
	how string
}

func (s *spy) Helper()                     {}
func (s *spy) Skipf(_ string, args ...any) { s.how = "skip: " + args[0].(error).Error() }
func (s *spy) Fatalf(string, ...any)       { s.how = "fatal" }

func TestMissingSkipsOutsideCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := buildIn(context.Background(), filepath.Join(t.TempDir(), "cache"), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "Go") {
		t.Fatalf("building without Go: %v", err)
	}
	for _, tt := range []struct {
		ci   string
		err  error
		want string
	}{
		{"", ErrNoVault, "skip: " + ErrNoVault.Error()},
		{"", ErrNoPostgres, "skip: " + ErrNoPostgres.Error()},
		{"true", ErrNoVault, "fatal"},
		{"", errors.New("vault ended by itself"), "fatal"},
	} {
		t.Setenv("CI", tt.ci)
		s := &spy{}
		missing(s, tt.err)
		if s.how != tt.want {
			t.Errorf("CI=%q, %v: %s", tt.ci, tt.err, s.how)
		}
	}
}
