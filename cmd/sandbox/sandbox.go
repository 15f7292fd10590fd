package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// A sandbox is everything that was started, with what is known about it.
type sandbox struct {
	opt   options
	out   *printer
	log   zerolog.Logger
	logs  *recorder
	dir   string
	vault *vaultSide
	pg    *vaulttest.PG // nil: none on this machine
	ow    *openwhisk
	shop  *shop
	cfg   *config.Config
	svc   *service.Service
	watch *watcher
	marks fingerprints
	ends  []func() // what close does, last first
	quit  chan error
}

func newSandbox(opt options, stdout, stderr io.Writer) *sandbox {
	s := &sandbox{opt: opt, out: newPrinter(stdout), logs: new(recorder), marks: newFingerprints(), quit: make(chan error, 1)}
	var w io.Writer = s.logs
	if opt.verbose {
		w = io.MultiWriter(s.logs, zerolog.ConsoleWriter{Out: stderr, NoColor: !s.out.colours, TimeFormat: "15:04:05.000"})
	}
	s.log = zerolog.New(w).Level(zerolog.DebugLevel).With().Timestamp().Logger()
	return s
}

func (s *sandbox) later(end func()) { s.ends = append(s.ends, end) }

// close ends everything in the reverse order of starting.
func (s *sandbox) close() {
	for len(s.ends) > 0 {
		end := s.ends[len(s.ends)-1]
		s.ends = s.ends[:len(s.ends)-1]
		end()
	}
}

// play starts everything and shows it. It reports whether all promises that were checked are kept.
func (s *sandbox) play(ctx context.Context) (bool, error) {
	began := time.Now()
	s.out.head("Starting real parts on this machine")
	for _, step := range []func(context.Context) error{s.directory, s.startVault, s.startPostgres, s.startOpenWhisk, s.fillShop, s.startService} {
		if err := step(ctx); err != nil {
			return false, err
		}
	}
	s.out.line("  ready after %s", time.Since(began).Round(100*time.Millisecond))
	if s.opt.once {
		return s.once(ctx)
	}
	return s.show(ctx)
}

func (s *sandbox) directory(context.Context) error {
	if s.opt.keep != "" {
		dir, err := filepath.Abs(s.opt.keep)
		if err != nil {
			return err
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			return fmt.Errorf("-keep %s: the directory is not empty; name a new one", s.opt.keep)
		}
		s.dir = dir
		s.later(func() { _ = os.WriteFile(filepath.Join(dir, "service.log"), s.logs.Bytes(), 0o600) })
		return os.MkdirAll(dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "rotator-sandbox-")
	if err != nil {
		return err
	}
	s.dir = dir
	s.later(func() { _ = os.RemoveAll(dir) })
	return nil
}

func (s *sandbox) startVault(ctx context.Context) (err error) {
	s.vault, err = startVault(ctx, func(what string) { s.out.line("  %s", s.out.paint(dim, "vault: "+what)) })
	if err != nil {
		return err
	}
	s.later(s.vault.Stop)
	s.out.line("  vault       %s", s.vault.Address)
	return nil
}

// startPostgres goes without where there is none.
func (s *sandbox) startPostgres(ctx context.Context) error {
	defer s.later(s.vault.remove) // before the database stops
	pg, err := vaulttest.StartPostgres(ctx, io.Discard)
	if err == nil {
		if err = s.vault.useDatabase(ctx, pg); err != nil {
			pg.Stop()
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.out.line("  postgres    none, a second AppRole takes its part: %s", firstLine(err))
		return nil
	}
	s.pg = pg
	s.later(pg.Stop)
	s.out.line("  postgres    %s:%d", pg.Host, pg.Port)
	return nil
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

func (s *sandbox) startOpenWhisk(context.Context) (err error) {
	kind := "the emulator of this project"
	if s.opt.apihost != "" {
		kind = "yours; everything there is called rotator-sandbox-..."
		s.ow, err = ownHost(s.opt.apihost)
	} else {
		s.ow, err = startEmulator()
	}
	if err != nil {
		return err
	}
	s.later(s.ow.stop)
	s.out.line("  openwhisk   %s (%s)", s.ow.url, kind)
	return nil
}

// fillShop mints the first credentials by hand, writes the bundles and binds them to the targets.
func (s *sandbox) fillShop(ctx context.Context) error {
	pre := s.ow.prefix()
	checkout, err := checkoutBundle(ctx, s.vault, pre)
	if err != nil {
		return err
	}
	orders, err := ordersBundle(ctx, s.vault, s.pg, pre)
	if err != nil {
		return err
	}
	s.shop = newShop(pre, []*bundle{checkout, orders})
	for _, b := range s.shop.bundles {
		if err := s.vault.write(ctx, b); err != nil {
			return err
		}
	}
	if err := s.vault.admitRotator(ctx, s.shop.bundles, s.dir); err != nil {
		return err
	}
	if err := s.shop.fill(ctx, s.ow); err != nil {
		return err
	}
	if s.ow.emulator != nil {
		s.ow.emulator.Referee(&s.ow.fouls)
	}
	s.out.line("  the shop    bundles checkout and orders; package, binding, 3 actions, sequence, trigger, rule")
	return s.writeConfig()
}

// startService runs the very code of `rotator run`.
func (s *sandbox) startService(ctx context.Context) error {
	svc, err := service.Open(ctx, s.cfg, service.Options{Log: s.log, Version: "sandbox"})
	if err != nil {
		return fmt.Errorf("starting the service: %w", err)
	}
	s.svc = svc
	s.later(svc.Close)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	s.later(func() { cancel(); <-done })
	if s.watch, err = newWatcher(ctx, svc.Conn, s.out); err != nil {
		cancel()
		close(done)
		return err
	}
	go func() {
		defer close(done)
		err := svc.Run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("it returned")
		}
		if err != nil {
			s.quit <- fmt.Errorf("the service ended by itself: %w", err)
		}
	}()
	s.out.line("  service     with NATS inside, JetStream in %s", s.cfg.Data)
	return nil
}

// lastLog shows the end of the service's log when something went wrong.
func (s *sandbox) lastLog(w io.Writer) {
	lines := strings.Split(strings.TrimSpace(string(s.logs.Bytes())), "\n")
	if lines[0] == "" {
		return
	}
	fmt.Fprintln(w, "sandbox: the last lines of the service's log:")
	for _, l := range lines[max(0, len(lines)-15):] {
		fmt.Fprintln(w, "  "+l)
	}
}
