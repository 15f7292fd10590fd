package main

import (
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestPrepared: with what prepare leaves behind - twice, as after a restart - a rotation would not be refused.
func TestPrepared(t *testing.T) {
	v, pg := vaulttest.RunPersistent(t), vaulttest.Postgres(t)
	host := httptest.NewServer(whisktest.New(whisktest.Options{}))
	defer host.Close()
	if err := v.Mount(t.Context(), "secret", "kv-v2"); err != nil { // a dev server has it
		t.Fatal(err)
	}
	s := &stage{vault: v, pg: pg, openwhisk: host.URL, auth: whisktest.GuestKey, nats: "nats://127.0.0.1:4222", dir: t.TempDir()}
	for range 2 {
		if err := s.all(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Load(s.dir+"/rotator.yaml", config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	p, err := service.Preview(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := p.Plan(t.Context(), "shop", events.KindLeak)
	if err != nil || len(plan.Refusals) > 0 || len(plan.Targets) != 2 {
		t.Errorf("%v: %+v", err, plan)
	}
	service.Check(t.Context(), cfg, zerolog.Nop(), func(f service.Finding) {
		if !f.OK && f.Subject != "nats" {
			t.Errorf("%s: %s", f.Subject, f.Text)
		}
	})
}
